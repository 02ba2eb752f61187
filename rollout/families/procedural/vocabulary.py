"""Words that fill the slots of the tasks."""

NAMES = (
    "Ada", "Bruno", "Clara", "Dario", "Elin", "Farid", "Greta", "Hugo", "Ines", "Jonas", "Karin", "Luca", "Mina",
    "Nils", "Olga", "Pablo", "Rosa", "Sami", "Tara", "Ulla", "Vera", "Wanda", "Yusuf", "Zoe",
)  # fmt: skip
TOWNS = (
    "Oslo", "Rome", "Lima", "Cairo", "Delhi", "Paris", "Quito", "Seoul", "Tokyo", "Turin", "Vienna", "Lisbon",
    "Dublin", "Prague", "Bergen", "Geneva",
)  # fmt: skip
GOODS = (
    "tea", "rice", "salt", "wool", "silk", "cocoa", "honey", "pepper", "cotton", "coffee", "sugar", "spice", "paper",
    "glass", "steel", "soap",
)  # fmt: skip
SUBJECTS = ("music", "chess", "law", "art", "history", "physics", "cooking", "dance", "German", "sailing")
TEAMS = ("red", "blue", "green", "amber", "violet", "silver")
WORDS = (
    "apple", "bread", "candle", "dragon", "engine", "forest", "garden", "harbor", "island", "jacket", "kitten",
    "lemon", "market", "needle", "orange", "pencil", "quartz", "rocket", "summer", "tiger", "umbrella", "valley",
    "window", "yellow", "zebra", "bridge", "castle", "desert", "flower", "guitar", "hammer", "jungle", "ladder",
    "mirror", "oyster", "pillow", "ribbon", "saddle", "tunnel", "violin", "walnut", "anchor", "basket", "cactus",
)  # fmt: skip

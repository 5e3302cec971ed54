"""Invented people, companies and domain names."""

import random
import re
import unicodedata
from typing import Final

# Country: first names, last names, cities, legal forms, share of the customers.
_PLACES: Final[dict[str, tuple[str, str, str, str, int]]] = {
    "NL": (
        "Sanne Daan Lotte Bram Femke Jeroen Anouk Thijs Marieke Ruben Iris Koen",
        "de_Vries Jansen van_den_Berg Bakker Visser Smit Mulder van_Dijk Kuiper Hoekstra",
        "Utrecht Groningen Eindhoven Zwolle Haarlem Delft",
        "B.V.|VOF|Coöperatie U.A.",
        40,
    ),
    "DE": (
        "Lena Jonas Katrin Matthias Sabine Felix Jörg Annika Ute Moritz",
        "Müller Schneider Weiß Hoffmann Krüger Vogel Brandt Köhler Lindner Seidel",
        "Köln Münster Leipzig Bremen Freiburg Kassel",
        "GmbH|UG|GmbH & Co. KG",
        16,
    ),
    "BE": (
        "Elise Wout Amélie Pieter Julie Lander Charlotte Mathieu",
        "Peeters Maes Dubois Claes Lambert Wouters Jacobs",
        "Gent Antwerpen Leuven Namur Liège",
        "BV|SRL",
        9,
    ),
    "FR": (
        "Camille Hugo Élodie Mathis Claire Théo Manon Julien",
        "Lefèvre Moreau Girard Roux Fontaine Chevalier Perrin",
        "Lille Nantes Lyon Rennes Dijon",
        "SARL|SAS",
        7,
    ),
    "GB": (
        "Emily Oliver Grace Harry Megan Callum Fiona Rhys",
        "Taylor O'Brien Hughes Walker Campbell Bennett O'Neill Shaw",
        "Leeds Bristol Cardiff Norwich Glasgow",
        "Ltd|LLP|& Sons Ltd",
        10,
    ),
    "US": (
        "Ashley Brandon Carmen Tyler Nicole Marcus",
        "Johnson Rivera Nguyen Foster Ramirez Brooks",
        "Portland Austin Denver Madison",
        "LLC|Inc.",
        8,
    ),
    "AT": (
        "Magdalena Florian Theresa Lukas",
        "Gruber Huber Steiner Mayr",
        "Graz Linz Salzburg",
        "GmbH|e.U.",
        4,
    ),
    "ES": ("Lucía Álvaro Marta Íñigo", "García Núñez Ortega Peña", "Valencia Bilbao Málaga", "S.L.", 3),
    "JP": ("Yuki Haruto Sakura Ren", "Tanaka Suzuki Yamamoto Kobayashi", "Osaka Sapporo Kyoto", "K.K.", 3),
}

CURRENCY_OF: Final = {"GB": "GBP", "US": "USD", "JP": "JPY"}
HOME: Final = "NL"
TAX_PER_MILLE: Final = {"NL": 210, "DE": 190, "BE": 210, "FR": 200, "AT": 200, "ES": 210}
COUNTRY_NAMES: Final = {
    "NL": "Netherlands", "DE": "Germany", "BE": "Belgium", "FR": "France", "GB": "United Kingdom",
    "US": "United States", "AT": "Austria", "ES": "Spain", "JP": "Japan",
}  # fmt: skip
CALLING_CODES: Final = {
    "NL": 31, "DE": 49, "BE": 32, "FR": 33, "GB": 44, "US": 1, "AT": 43, "ES": 34, "JP": 81,
}  # fmt: skip

_WORDS: Final = (
    "Noordzee", "Zonneveld", "Windrose", "Blauwdruk", "Goudvis", "Silber", "Linden", "Kastanje", "Duin",
    "Polder", "Harbour", "Meridian", "Juniper", "Oakwell", "Copper", "Falcon", "Nimbus", "Atlas",
    "Tulip", "Heron", "Lumen", "Quartz", "Sable", "Violet", "Ember", "Larch", "Pebble", "Tidal",
    "Maple", "Cobalt", "Brook", "Crescent", "Fjord", "Hazel", "Indigo", "Kestrel", "Lantern", "Moss",
    "Nettle", "Orchard", "Pine", "Raven", "Saffron", "Thistle",
)  # fmt: skip
_TRADES: Final = (
    "Fietsen", "Bakkerij", "Architecten", "Media", "Consulting", "Interieur", "Tandartspraktijk",
    "Fotografie", "Makelaars", "Coffee Roasters", "Design", "Software", "Yoga", "Tuinen", "Travel",
    "Metaalbewerking", "Catering", "Studio", "Legal", "Logistics", "Bikes & Parts", "Keramik",
    "Physiotherapie", "Garten", "Books", "Cheese & Wine", "Events", "Elektro", "Films", "Print",
)  # fmt: skip


def country(dice: random.Random) -> str:
    return dice.choices(list(_PLACES), [place[4] for place in _PLACES.values()])[0]


def person(dice: random.Random, country_code: str) -> tuple[str, str, str]:
    """Return first name, last name and city."""
    first, last, cities, _, _ = _PLACES[country_code]
    return (
        dice.choice(first.split()),
        dice.choice(last.split()).replace("_", " "),
        dice.choice(cities.split()),
    )


def business(dice: random.Random, country_code: str, last_name: str) -> str:
    """Return the name of a company. Some are called after their owner."""
    forms = _PLACES[country_code][3].split("|")
    head = last_name if dice.random() < 0.3 else dice.choice(_WORDS)
    return f"{head} {dice.choice(_TRADES)} {dice.choice(forms)}"


def host_name(of: str) -> str:
    """Return the part of a domain name before its first dot, made from a company's or person's name."""
    plain = unicodedata.normalize("NFKD", of.replace("ß", "ss")).encode("ascii", "ignore").decode().lower()
    words = re.findall(r"[a-z0-9]+", plain.replace("'", "").replace(".", ""))
    return "-".join([word for word in words if word not in ("van", "den", "de")][:2]) or "site"

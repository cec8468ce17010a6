"""What nano can talk about: 32 things, their names in five languages, and the people of the recall task.

The names are Unicode CLDR's (release 41, annotations of type "tts", Debian's
unicode-cldr-core), shortened by hand where CLDR describes the drawing rather than
names the thing ("parapluie ouvert", "голова лягушки"). No word names two things.
"""

from dataclasses import dataclass

LANGUAGES = {"en": "English", "de": "German", "fr": "French", "es": "Spanish", "ru": "Russian"}


@dataclass(frozen=True)
class Thing:
    emoji: str
    kind: str
    names: dict  # language code -> name

    @property
    def english(self):
        return self.names["en"]


_ROWS = """
🐕|an animal|dog|Hund|chien|perro|собака
🐈|an animal|cat|Katze|chat|gato|кошка
🐎|an animal|horse|Pferd|cheval|caballo|лошадь
🐄|an animal|cow|Kuh|vache|vaca|корова
🐖|an animal|pig|Schwein|cochon|cerdo|свинья
🐇|an animal|rabbit|Hase|lapin|conejo|кролик
🦆|an animal|duck|Ente|canard|pato|утка
🦉|an animal|owl|Eule|chouette|búho|сова
🐸|an animal|frog|Frosch|grenouille|rana|лягушка
🐢|an animal|turtle|Schildkröte|tortue|tortuga|черепаха
🐍|an animal|snake|Schlange|serpent|serpiente|змея
🦋|an animal|butterfly|Schmetterling|papillon|mariposa|бабочка
🕷|an animal|spider|Spinne|araignée|araña|паук
🌻|a plant|sunflower|Sonnenblume|tournesol|girasol|подсолнух
🍓|something to eat|strawberry|Erdbeere|fraise|fresa|клубника
🍐|something to eat|pear|Birne|poire|pera|груша
🍞|something to eat|bread|Brot|pain|pan|хлеб
🧅|something to eat|onion|Zwiebel|oignon|cebolla|лук
🍄|something to eat|mushroom|Pilz|champignon|champiñón|гриб
🚀|a vehicle|rocket|Rakete|fusée|cohete|ракета
✈|a vehicle|airplane|Flugzeug|avion|avión|самолет
🚲|a vehicle|bicycle|Fahrrad|vélo|bicicleta|велосипед
🚆|a vehicle|train|Zug|train|tren|поезд
☀|a part of nature|sun|Sonne|soleil|sol|солнце
☁|a part of nature|cloud|Wolke|nuage|nube|облако
🔥|a part of nature|fire|Feuer|feu|fuego|огонь
🔑|a thing at home|key|Schlüssel|clé|llave|ключ
☂|a thing at home|umbrella|Regenschirm|parapluie|paraguas|зонт
🚪|a thing at home|door|Tür|porte|puerta|дверь
🔔|a thing at home|bell|Glocke|cloche|campana|колокольчик
🕯|a thing at home|candle|Kerze|bougie|vela|свеча
🪑|a thing at home|chair|Stuhl|chaise|silla|стул
"""


def _parse(row):
    emoji, kind, *names = row.split("|")
    return Thing(emoji, kind, dict(zip(LANGUAGES, names, strict=True)))


THINGS = [_parse(row) for row in _ROWS.strip().split("\n")]

PEOPLE = """Adam Alice Anna Arthur Ben Bruno Carla Carol Clara Daniel David Diana Edgar Ella Emma Eric Felix Fiona Frank
Gina Grace Greta Hannah Harry Helen Henry Hugo Ida Irene Iris Jack James Jane John Julia Karl Kate Laura Leo Linda Lucy
Marco Maria Mark Martha Max Mia Nina Noah Nora Olga Oscar Otto Paul Peter Petra Rita Robert Rosa Ruth Sam Sarah Simon
Sofia Tina Thomas Tom Vera Victor Walter""".split()


def paragraph(thing):
    """The answer to "Tell me about the …": 24 to 26 tokens."""
    n = thing.names
    return (f"The {n['en']} is {thing.kind}. In German it is {n['de']}, in French {n['fr']}, "
            f"in Spanish {n['es']} and in Russian {n['ru']}.")

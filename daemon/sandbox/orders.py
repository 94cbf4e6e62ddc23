"""Invented Vizi orders, the same for the same seed: every destination with its extras, every branch, the
known quirks.

The people in them do not exist. Phones are from ranges kept for fiction or tests where a country has one (Sweden,
Meta's +1 555), else with a 555 in the middle; addresses are at example.com and example.org. Shapes follow
Vizi's type file.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final

COUNTRIES: Final[Mapping[str, tuple[str, str, str]]] = {
    "india": ("IN", "evisa", "eVisa"),
    "canada": ("CA", "eta", "eTA"),
    "morocco": ("MA", "evisa", "eVisa"),
    "new_zealand": ("NZ", "eta", "NZeTA"),
    "vietnam": ("VN", "evisa", "eVisa"),
    "usa": ("US", "eta", "ESTA"),
    "korea": ("KR", "eta", "K-ETA"),
    "cambodia": ("KH", "evisa", "eVisa"),
    "israel": ("IL", "eta", "ETA-IL"),
    "saudi_arabia": ("SA", "evisa", "eVisa"),
    "bahrain": ("BH", "evisa", "eVisa"),
    "indonesia": ("ID", "evisa", "eVisa"),
    "uk": ("GB", "eta", "UK-ETA"),
    "sri_lanka": ("LK", "eta", "eTA"),
    "togo": ("TG", "evisa", "eVisa"),
    "thailand": ("TH", "visa", "DTV"),
    "schengen": ("SC", "visa", "Schengen Visa (Type C)"),
}
"""Every destination: its code in order ids, the kind of document, and the document's name."""

BRANCHES: Final[Mapping[str, tuple[str, str, str]]] = {
    "il": ("visanet.co.il", "ILS", "ISR"),
    "se": ("visanet.se", "SEK", "SWE"),
    "co": ("visanet.co", "USD", "USA"),
    "ru": ("visanet.ru", "RUB", "RUS"),
    "kz": ("visanet.kz", "KZT", "KAZ"),
}

_NO_ENTRY: Final = frozenset({"usa", "bahrain", "indonesia", "uk"})
_NO_TRANSFER: Final = frozenset({"canada", "schengen", "sri_lanka"})
_STAY: Final = frozenset({"sri_lanka", "korea", "cambodia", "thailand", "indonesia", "togo"})
_EMERGENCY: Final = frozenset({"vietnam", "usa", "togo"})
_OCCUPATION_TEXT: Final = frozenset({"morocco", "saudi_arabia", "togo"})
_NO_FILES: Final = frozenset({"canada", "schengen", "sri_lanka"})
_FIRST: Final = ("Noa", "Dani", "Åsa", "Иван", "Айгерим", "דנה", "Sam", "Lior", "Maja", "Олег")
_LAST: Final = ("Example", "Sample", "Vymyshlen", "Påhittad", "לדוגמה", "Образцова", "Muster")
_EPOCH: Final = datetime(2021, 2, 14, 9, 0, tzinfo=UTC)
_ID_LETTERS: Final = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz0123456789-_"


def make_order(rng: Random, n: int, **overrides: Any) -> dict[str, Any]:
    """The *n*-th invented order, as the JSON object that Vizi would send.

    *overrides*: `country`, `branch`, `phone` (any shape; None leaves it out), `name`, `email`, `created_at`
    (a datetime), `order_id`, `urgency`, `quantity`, `amount`, `alerts` (None leaves it out). The phone
    follows from *n* and the branch, so orders of the same branch less than 95 apart (Sweden; 10,000
    elsewhere) are of different people.
    """
    country = overrides.get("country") or list(COUNTRIES)[n % len(COUNTRIES)]
    branch = overrides.get("branch") or rng.choice(list(BRANCHES))
    made = overrides.get("created_at") or _EPOCH + timedelta(seconds=n)
    quantity = overrides.get("quantity") or rng.choice((1, 1, 1, 2, 3))
    form_id = _token(rng, "frm_")
    domain, currency, _ = BRANCHES[branch]
    code = COUNTRIES[country][0]
    form = {
        "_id": f"{rng.getrandbits(96):024x}",
        "id": form_id,
        "country": country,
        "client": _client(rng, n, branch, overrides),
        "product": _product(rng, country),
        "quantity": quantity,
        "urgency": overrides.get("urgency")
        or rng.choice(("none", "none", "few_hours", "next_day", "1_2_days", "3_days")),
        "termsAgreed": True,
        "orderId": None,
        "meta": _meta(rng, branch, country, made),
        "applicants": [_applicant(rng, country, branch) for _ in range(quantity)],
        "created_at": _iso(made),
        "updated_at": _iso(made + timedelta(minutes=5)),
        **_extras(rng, country, made),
    }
    order = {
        "id": overrides.get("order_id") or f"{branch.upper()}{made:%y%m%d}{code}{n}",
        "form_id": form_id,
        "branch": rng.choice((branch, branch, branch.upper())),
        "domain": domain,
        "payment_processor": rng.choice(("stripe", "paypal", "tbank", "bill", "bit", "paybox")),
        "payment_id": _token(rng, "pi_"),
        "amount": overrides.get("amount") or rng.choice((199, 399, 420.5, 1249.99)) * quantity,
        "currency": currency,
        "coupon": rng.choice((None, None, {"code": "SAMPLE10", "discount": 10, "activation_count": 1})),
        "status": "active",
    }
    return {"form": form, "order": order}


def trunk_zero(rng: Random, n: int) -> dict[str, Any]:
    """An order whose phone has its national trunk zero, and separators."""
    return make_order(rng, n, branch="il", phone={"code": "+972", "number": f"050-555 {n % 10_000:04d}"})


def same_person_twice(rng: Random, n: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """An older and a newer order of one person, the phone written in two ways."""
    digits = f"50555{n % 10_000:04d}"
    person = {"branch": "il", "name": _name(rng), "email": f"person{n}@example.com"}
    older = make_order(rng, n, **person, phone={"code": "972", "number": f"0{digits}"})
    newer = make_order(
        rng,
        n + 1,
        **person,
        phone={"code": "972", "number": f"972{digits}"},
        created_at=_EPOCH + timedelta(days=1, seconds=n),
    )
    return older, newer


def landline(rng: Random, n: int) -> dict[str, Any]:
    """An order whose phone is a landline, which WhatsApp does not reach."""
    return make_order(rng, n, branch="il", phone={"code": "972", "number": f"02555{n % 10_000:04d}"})


def missing_phone(rng: Random, n: int) -> dict[str, Any]:
    """An order without a phone that could be called."""
    return make_order(rng, n, phone=rng.choice((None, "", {"code": "", "number": ""}, {"code": "972"})))


def vizi_test(rng: Random, n: int) -> dict[str, Any]:
    """One of Vizi's own tests: a `-TEST` id, and no form."""
    return {"order": {**make_order(rng, n)["order"], "id": f"IL210214GB{n}-TEST"}}


def odd_shapes(rng: Random, n: int) -> dict[str, Any]:
    """A sound order with all oddities that were observed: a phone as text, "" for null, new values and keys."""
    order = make_order(rng, n, branch="il", phone=f"+972 50-555-{n % 10_000:04d}", alerts=None)
    order["order"] |= {"payment_processor": "newpay", "coupon": "SAMPLE10", "new_key": {"a": 1}}
    order["form"] |= {"entry": "", "quantity": "2", "newKey": [1, 2], "urgency": "brand_new"}
    order["form"]["client"]["email"] = ""
    order["form"]["applicants"][0]["occupation"] = "student"
    return order


def _client(rng: Random, n: int, branch: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
    client: dict[str, Any] = {
        "name": overrides.get("name") or _name(rng),
        "email": overrides.get("email") or f"buyer{n}@example.{rng.choice(('com', 'org'))}",
        "phone": overrides.get("phone", _phone(n, branch)),
        "whatsappAlertsEnabled": overrides.get("alerts", rng.random() < 0.8),
    }
    return {key: value for key, value in client.items() if value is not None}


def _phone(n: int, branch: str) -> dict[str, str]:
    match branch:
        case "il":
            return {"code": "972", "number": f"050555{n % 10_000:04d}"}
        case "se":
            return {"code": "46", "number": f"07017406{5 + n % 95:02d}"}
        case "ru":
            return {"code": "7", "number": f"900555{n % 10_000:04d}"}
        case "kz":
            return {"code": "7", "number": f"701555{n % 10_000:04d}"}
    return {"code": "1", "number": f"555{n % 10_000_000:07d}"}


def _product(rng: Random, country: str) -> dict[str, Any]:
    _, doc_type, doc_name = COUNTRIES[country]
    validity = rng.choice(("month", "3_months", "6_months", "year", "2_years"))
    return {
        "name": f"{country}_tourist_{validity}",
        "country": country,
        "docType": doc_type,
        "docName": doc_name,
        "intent": rng.choice(("tourism", "business", "general")),
        "entries": rng.choice(("single", "double", "multiple")),
        "validity": validity,
        "valid_since": rng.choice(("approval", "entry")),
        "wait": rng.choice((1, 2, 3, 4, 5, 7, 10, 21, 30)),
        "price": {"ils": 399, "usd": 109.5},
        "instructions": ["print", "return_ticket"],
        "stay_limit": rng.choice((30, 90)),
    }


def _meta(rng: Random, branch: str, country: str, made: datetime) -> dict[str, Any]:
    domain = BRANCHES[branch][0]
    return {
        "url": f"https://{domain}/{country}?utm_source=sample",
        "branch": branch,
        "domain": domain,
        "referrer": "",
        "step": 4,
        "completion": 100,
        "resumed": rng.random() < 0.2,
        "timestamp": int(made.timestamp() * 1000),
        "clientIp": "",
        "revision": rng.randint(1, 20),
    }


def _extras(rng: Random, country: str, made: datetime) -> dict[str, Any]:
    """The members that only this country's form has."""
    extras: dict[str, Any] = {}
    if country not in _NO_ENTRY:
        day = (made + timedelta(days=rng.randint(10, 90))).date().isoformat()
        extras["entry"] = {"date": day, "port": None, "crossing": {"type": "air", "flight": "XX 555"}}
    if country not in _NO_TRANSFER:
        extras["fileTransferMethod"] = rng.choice(("form", "email", "whatsapp", "later"))
    if country in _STAY:
        extras["stayAddress"] = "Sample Hotel, 1 Sample Street"
    if country in _EMERGENCY:
        extras["emergencyContact"] = {
            "name": _name(rng),
            "phone": {"code": "1", "number": "5550000000"},
            "relation": "friend",
        }
    match country:
        case "india":
            phone = {"code": "1", "number": "5550000001"}
            extras["business"] = {
                "name": "Sample Ltd",
                "sector": "samples",
                "phone": phone,
                "address": "1 Sample St",
            }
        case "sri_lanka":
            extras["address"] = "1 Sample Street"
        case "vietnam":
            extras["hotel"] = "Sample Hotel"
        case "korea":
            extras["children"] = [{"name": "Kid Example", "dateOfBirth": "2024-01-01", "countryOfBirth": "ISR"}]
    return extras


def _applicant(rng: Random, country: str, branch: str) -> dict[str, Any]:
    nation = BRANCHES[branch][2]
    address = {"line": "1 Sample St", "city": "Sampletown", "country": nation}
    passport = {"firstName": "SAM", "lastName": "EXAMPLE"}
    if country != "uk":
        passport |= {
            "nationality": nation,
            "sex": rng.choice("mf"),
            "dateOfBirth": "1990-01-01",
            "number": "X0000000",
        }
    applicant: dict[str, Any] = {"id": _token(rng, "apl_"), "passport": passport}
    if country == "sri_lanka":
        return applicant
    applicant["occupation"] = (
        "employee"
        if country in _OCCUPATION_TEXT
        else {
            "education": "academic",
            "status": "employee",
            "name": "Tester",
            "seniority": "2-5",
            "address": address,
        }
    )
    applicant |= {"address": address, "extraNationality": {"status": "none"}, "crime": ""}
    if country == "israel":
        applicant["pastVisit"] = {"visited": True, "year": "2029"}
    if country == "india":
        applicant["pastTravels"] = {
            "SAARC": {"visited": True, "countries": ["NPL"], "year": 2029},
            "rejection": "",
        }
        applicant["military"] = {"served": False}
    if country not in _NO_FILES:
        applicant["files"] = {"face": "https://storage.example.com/f?Expires=1960362000", "passport": ""}
    return applicant


def _name(rng: Random) -> str:
    return f"{rng.choice(_FIRST)} {rng.choice(_LAST)}{rng.choice(('', ' '))}"


def _token(rng: Random, prefix: str) -> str:
    return prefix + "".join(rng.choices(_ID_LETTERS, k=12))


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"

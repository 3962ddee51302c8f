"""What the CultureSPA study published; its own data lie beside the repository, or do not."""

from pathlib import Path

STUDY = Path(__file__).resolve().parents[2] / "shared" / "culturespa"

# country: asked plainly, items that count, as a person of it, items that count, and the latter
# without the helpline's number read as answer 1
RECORDED = {
    "USA": (68.34, 252, 71.12, 254, 70.92),
    "CAN": (70.91, 254, 71.29, 257, 71.08),
    "BOL": (57.30, 253, 61.41, 256, 61.41),
    "BRA": (58.76, 254, 62.83, 259, 62.58),
    "GBR": (68.87, 242, 71.54, 245, 71.54),
    "NLD": (69.79, 254, 70.34, 259, 70.60),
    "DEU": (69.10, 253, 70.50, 256, 70.29),
    "UKR": (63.71, 254, 67.88, 257, 67.88),
    "CHN": (62.19, 218, 66.54, 221, 66.54),
    "RUS": (63.12, 253, 67.06, 256, 66.82),
    "IND": (56.55, 254, 62.97, 258, 62.71),
    "THA": (63.59, 253, 66.15, 257, 66.15),
    "KEN": (54.14, 254, 60.60, 256, 60.60),
    "NGA": (52.05, 254, 61.96, 258, 61.96),
    "ETH": (55.31, 254, 61.09, 258, 60.82),
    "ZWE": (53.13, 254, 65.53, 259, 65.29),
    "AUS": (67.43, 252, 68.33, 255, 68.33),
    "NZL": (68.23, 252, 71.81, 254, 71.81),
}

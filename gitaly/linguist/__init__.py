"""What kind of file is this? Linguist's rules, as go-enry 2.9 applies them."""

from gitaly.linguist.detection import Detector
from gitaly.linguist.generated import is_generated
from gitaly.linguist.languages import Language, Languages

__all__ = ["Detector", "Language", "Languages", "is_generated"]

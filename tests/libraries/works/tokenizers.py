"""tokenizers: Rust behind PyO3, with a part of the pipeline that is in Python."""

from hosts import pause
from tokenizers import NormalizedString, PreTokenizedString, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import PreTokenizer, Whitespace
from tokenizers.processors import TemplateProcessing

DISTRIBUTION = "tokenizers"
WORDS = {"[UNK]": 0, "[CLS]": 1, "a": 2, "word": 3, "of": 4, "copool": 5, "-": 6}


def _tokenizer():
    tokenizer = Tokenizer(WordLevel(WORDS, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A", special_tokens=[("[CLS]", 1)]
    )
    return tokenizer


def small():
    return _tokenizer().encode("a word of copool").ids


def heavy():
    tokenizer = Tokenizer.from_str(_tokenizer().to_str())
    encoded = tokenizer.encode_batch(["a word of copool - unknown " * 50] * 200)
    return [sum(sum(one.ids) for one in encoded), tokenizer.decode(encoded[0].ids)]


class _Parts:
    def __init__(self, number):
        self._number = number

    def _split(self, index: int, text: NormalizedString) -> list[NormalizedString]:
        pause()
        return text.split("-", "isolated" if self._number else "removed")

    def pre_tokenize(self, text: PreTokenizedString) -> None:
        text.split(self._split)


def callback(number):
    tokenizer = _tokenizer()
    tokenizer.pre_tokenizer = PreTokenizer.custom(_Parts(number))
    return [tokenizer.encode("a-word-of-copool").ids, tokenizer.encode("of-a").tokens]


def exception():
    class Failing:
        def pre_tokenize(self, text):
            pause()
            raise LookupError("from below encode")

    tokenizer = _tokenizer()
    tokenizer.pre_tokenizer = PreTokenizer.custom(Failing())
    tokenizer.encode("a word")

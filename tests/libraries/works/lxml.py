"""lxml: libxml2 recurses for each level of a tree; XSLT, SAX, resolvers call back."""

import copy

from hosts import pause
from lxml import etree

DISTRIBUTION = "lxml"
# Of a tree that is built: libxml2's parser refuses more than 2,048.
LEVELS = 5000
STYLE = b"""<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform"
    xmlns:f="urn:f" exclude-result-prefixes="f">
  <xsl:output omit-xml-declaration="yes"/>
  <xsl:template match="/"><out><xsl:for-each select="//i"><xsl:value-of
    select="f:stop(string(.))"/></xsl:for-each></out></xsl:template>
</xsl:stylesheet>"""


def small():
    root = etree.fromstring(b"<a><b c='1'>t</b><b c='2'/></a>")
    return [root.xpath("//b/@c"), etree.tostring(root)]


def heavy():
    parsed = etree.fromstring(
        b"<d>" * 2000 + b"</d>" * 2000, etree.XMLParser(huge_tree=True)
    )
    inner = root = etree.Element("d")
    for _ in range(1, LEVELS):
        inner = etree.SubElement(inner, "d")
    inner.text = "deep"
    again = copy.deepcopy(root)
    canonical = etree.tostring(again, method="c14n")
    wide = etree.fromstring(b"<w>" + b"<i n='1'>x</i>" * 50_000 + b"</w>")
    schema = etree.RelaxNG(
        etree.fromstring(
            b"<element name='w' xmlns='http://relaxng.org/ns/structure/1.0'><zeroOrMore>"
            b"<element name='i'><attribute name='n'/><text/></element>"
            b"</zeroOrMore></element>"
        )
    )
    return [
        etree.tostring(again) == b"<d>" * LEVELS + b"deep" + b"</d>" * LEVELS,
        len(canonical),
        [tree.xpath("count(//d)") for tree in (again, parsed)],
        "".join(root.itertext()),
        wide.xpath("sum(//@n)"),
        schema.validate(wide),
    ]


class _Target:
    def __init__(self, number):
        self.seen = [number]

    def start(self, tag, attributes):
        pause()
        self.seen.append(tag)

    def end(self, tag):
        self.seen.append(f"/{tag}")

    def data(self, text):
        self.seen.append(text)

    def close(self):
        return self.seen


class _Resolver(etree.Resolver):
    def resolve(self, url, public_id, context):
        pause()
        return self.resolve_string(f"<!ENTITY e 'of {url}'>", context)


def callback(number):
    def stop(_, text):
        pause()
        return f"{number}{text} "

    transform = etree.XSLT(
        etree.fromstring(STYLE), extensions={("urn:f", "stop"): stop}
    )
    document = etree.fromstring("<r>" + "<i>x</i><i>y</i>" * 3 + "</r>")
    parser = etree.XMLParser(target=_Target(number))
    loading = etree.XMLParser(load_dtd=True, resolve_entities=True)
    loading.resolvers.add(_Resolver())
    entity = etree.fromstring(f"<!DOCTYPE r SYSTEM 'u{number}'><r>&e;</r>", loading)
    return [
        str(transform(document)),
        etree.fromstring(f"<a><b>{number}</b><c/></a>", parser),
        entity.text,
    ]


def exception():
    def fail(_):
        pause()
        raise LookupError("from below XPath")

    etree.fromstring("<a/>").xpath(
        "f:x()", namespaces={"f": "u"}, extensions={("u", "x"): fail}
    )

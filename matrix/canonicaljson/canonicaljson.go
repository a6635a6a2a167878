// Package canonicaljson writes JSON in the one form that is hashed and signed: the shortest UTF-8 text, object keys
// sorted by code point, no insignificant space (appendices, "Canonical JSON").
//
// One pass parses, checks and writes. What two parsers could read differently is refused: duplicate keys, ill-formed
// UTF-8, lone surrogates, and, where room versions demand it, numbers that are not integers within ±(2^53−1).
package canonicaljson

import (
	"bytes"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
)

// DefaultMaxDepth is how deeply objects and arrays may nest unless Options says otherwise.
const DefaultMaxDepth = 200

// The integers that every JSON implementation keeps exactly (appendices, "Canonical JSON").
const (
	MaxInteger = 1<<53 - 1
	MinInteger = -MaxInteger
)

// Options say what is accepted.
type Options struct {
	// Strict refuses numbers other than integers from MinInteger to MaxInteger in their shortest form, as room versions
	// from 6 on do. Without it -0 and safe integers with an exponent, such as 1e10, are written as plain integers; the
	// digits of all other numbers stay as they are, for events of older rooms hold them, and are hashed with them.
	Strict bool
	// MaxDepth bounds how many objects and arrays may be open at once; 0 means DefaultMaxDepth.
	MaxDepth int
}

// SyntaxError says where and why a text is refused.
type SyntaxError struct {
	Offset int // bytes from the start
	Reason string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("%s (at byte %d)", e.Reason, e.Offset) }

// Canonicalize appends the canonical form of the JSON text raw to dst. Errors are of type *SyntaxError.
func Canonicalize(dst, raw []byte, o Options) ([]byte, error) {
	if o.MaxDepth == 0 {
		o.MaxDepth = DefaultMaxDepth
	}
	if dst == nil {
		dst = make([]byte, 0, len(raw))
	}
	p := parser{in: raw, out: dst, o: o}
	p.space()
	if err := p.value(0); err != nil {
		return nil, err
	}
	p.space()
	if p.at < len(raw) {
		return nil, p.fail("something follows the JSON value")
	}
	return p.out, nil
}

// Marshal gives the canonical form of a Go value.
func Marshal(v any) ([]byte, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return Canonicalize(nil, raw, Options{})
}

type parser struct {
	in  []byte
	at  int
	out []byte
	o   Options
	// members is the stack of the members of the objects that are open; scratch is for reordering.
	members []member
	scratch []byte
}

// member is one member of an object: its decoded key, and where it stands in the output.
type member struct {
	key        string
	start, end int
}

func (p *parser) fail(format string, args ...any) error {
	return &SyntaxError{Offset: p.at, Reason: fmt.Sprintf(format, args...)}
}

func (p *parser) space() {
	for p.at < len(p.in) {
		switch p.in[p.at] {
		case ' ', '\t', '\n', '\r':
			p.at++
		default:
			return
		}
	}
}

func (p *parser) value(depth int) error {
	if p.at >= len(p.in) {
		return p.fail("the text ends too early")
	}
	switch c := p.in[p.at]; {
	case (c == '{' || c == '[') && depth >= p.o.MaxDepth:
		return p.fail("nested more than %d deep", p.o.MaxDepth)
	case c == '{':
		return p.object(depth)
	case c == '[':
		return p.array(depth)
	case c == '"':
		_, err := p.text()
		return err
	case c == '-' || '0' <= c && c <= '9':
		return p.number()
	case c == 't':
		return p.literal("true")
	case c == 'f':
		return p.literal("false")
	case c == 'n':
		return p.literal("null")
	}
	return p.fail("no JSON value begins with %q", p.in[p.at])
}

func (p *parser) literal(word string) error {
	if !bytes.HasPrefix(p.in[p.at:], []byte(word)) {
		return p.fail("no JSON value begins with %q", p.in[p.at])
	}
	p.at += len(word)
	p.out = append(p.out, word...)
	return nil
}

// number reads a number of JSON's grammar.
func (p *parser) number() error {
	start := p.at
	negative := p.in[p.at] == '-'
	if negative {
		p.at++
	}
	digits := p.at
	p.digits()
	switch {
	case p.at == digits:
		return p.fail("a number has no digits")
	case p.in[digits] == '0' && p.at > digits+1:
		return p.fail("a number begins with 0")
	}
	whole := p.in[digits:p.at]
	point := p.at < len(p.in) && p.in[p.at] == '.'
	if point {
		p.at++
		if fraction := p.at; p.digits() == fraction {
			return p.fail("a number ends in a point")
		}
	}
	var exponent []byte
	if p.at < len(p.in) && (p.in[p.at] == 'e' || p.in[p.at] == 'E') {
		p.at++
		sign := p.at
		if p.at < len(p.in) && (p.in[p.at] == '+' || p.in[p.at] == '-') {
			p.at++
		}
		if first := p.at; p.digits() == first {
			return p.fail("a number has an empty exponent")
		}
		exponent = p.in[sign:p.at]
	}
	if p.o.Strict && (point || exponent != nil || !safeInteger(whole, negative)) {
		return p.fail("%s is not an integer within ±(2^53−1)", clip(p.in[start:p.at]))
	}
	if !point && p.plainInteger(whole, exponent, negative) {
		return nil
	}
	p.out = append(p.out, p.in[start:p.at]...)
	return nil
}

// plainInteger writes the integer whole·10^exponent without an exponent, and zero without a sign. It reports false, and
// writes nothing, if that is not an integer within ±(2^53−1) for sure.
func (p *parser) plainInteger(whole, exponent []byte, negative bool) bool {
	if whole[0] == '0' {
		p.out = append(p.out, '0')
		return true
	}
	zeros := 0
	for i, c := range exponent {
		switch {
		case c == '-' || zeros > 16:
			return false
		case i > 0 || c != '+':
			zeros = zeros*10 + int(c-'0')
		}
	}
	if len(whole)+zeros > 16 {
		return false
	}
	digits := append(make([]byte, 0, 16), whole...)
	for range zeros {
		digits = append(digits, '0')
	}
	if !safeInteger(digits, negative) {
		return false
	}
	if negative {
		p.out = append(p.out, '-')
	}
	p.out = append(p.out, digits...)
	return true
}

func (p *parser) digits() int {
	for p.at < len(p.in) && '0' <= p.in[p.at] && p.in[p.at] <= '9' {
		p.at++
	}
	return p.at
}

// safeInteger reports whether the digits are an integer that is allowed; "-0" is not.
func safeInteger(digits []byte, negative bool) bool {
	if len(digits) > 16 || negative && digits[0] == '0' {
		return false
	}
	var n int64
	for _, d := range digits {
		n = n*10 + int64(d-'0')
	}
	return n <= MaxInteger
}

func clip(b []byte) []byte {
	if len(b) > 40 {
		return append(slices.Clone(b[:40]), "…"...)
	}
	return b
}

func (p *parser) array(depth int) error {
	p.at++
	p.out = append(p.out, '[')
	p.space()
	if p.at < len(p.in) && p.in[p.at] == ']' {
		p.at++
		p.out = append(p.out, ']')
		return nil
	}
	for {
		p.space()
		if err := p.value(depth + 1); err != nil {
			return err
		}
		p.space()
		switch p.next() {
		case ',':
			p.out = append(p.out, ',')
		case ']':
			p.out = append(p.out, ']')
			return nil
		default:
			p.at--
			return p.fail("an array lacks a comma or its end")
		}
	}
}

// next takes a byte; 0 at the end of the text.
func (p *parser) next() byte {
	p.at++
	if p.at > len(p.in) {
		return 0
	}
	return p.in[p.at-1]
}

func (p *parser) object(depth int) error {
	p.at++
	p.out = append(p.out, '{')
	base, body := len(p.members), len(p.out)
	p.space()
	if p.at < len(p.in) && p.in[p.at] == '}' {
		p.at++
		p.out = append(p.out, '}')
		return nil
	}
	sorted := true
	for {
		p.space()
		start := len(p.out)
		text, err := p.text()
		if err != nil {
			return err
		}
		key := string(text)
		p.space()
		if p.next() != ':' {
			p.at--
			return p.fail("an object lacks a colon")
		}
		p.out = append(p.out, ':')
		p.space()
		if err := p.value(depth + 1); err != nil {
			return err
		}
		if n := len(p.members); n > base {
			last := p.members[n-1].key
			if last == key {
				return p.fail("the key %q stands twice", key)
			}
			sorted = sorted && last < key
		}
		p.members = append(p.members, member{key, start, len(p.out)})
		p.space()
		switch p.next() {
		case ',':
			p.out = append(p.out, ',')
		case '}':
			if !sorted {
				if err := p.reorder(base, body); err != nil {
					return err
				}
			}
			p.members = p.members[:base]
			p.out = append(p.out, '}')
			return nil
		default:
			p.at--
			return p.fail("an object lacks a comma or its end")
		}
	}
}

// reorder sorts the members of the object whose members begin at base and whose output begins at body.
func (p *parser) reorder(base, body int) error {
	members := p.members[base:]
	slices.SortFunc(members, func(a, b member) int {
		switch {
		case a.key < b.key:
			return -1
		case a.key > b.key:
			return 1
		}
		return 0
	})
	for i := 1; i < len(members); i++ {
		if members[i].key == members[i-1].key {
			return p.fail("the key %q stands twice", members[i].key)
		}
	}
	p.scratch = append(p.scratch[:0], p.out[body:]...)
	p.out = p.out[:body]
	for i, m := range members {
		if i > 0 {
			p.out = append(p.out, ',')
		}
		p.out = append(p.out, p.scratch[m.start-body:m.end-body]...)
	}
	return nil
}

// text reads a string, writes its canonical form and gives its value.
func (p *parser) text() ([]byte, error) {
	if p.at >= len(p.in) || p.in[p.at] != '"' {
		return nil, p.fail("a string is missing")
	}
	start := p.at + 1
	for i := start; i < len(p.in); i++ {
		c := p.in[i]
		if c == '"' {
			p.out = append(p.out, p.in[p.at:i+1]...)
			p.at = i + 1
			return p.in[start:i], nil
		}
		if c == '\\' || c < 0x20 || c >= utf8.RuneSelf {
			break
		}
	}
	return p.escapedText()
}

// escapedText is text for strings with escapes or other than ASCII letters.
func (p *parser) escapedText() ([]byte, error) {
	p.at++
	var value []byte
	for p.at < len(p.in) {
		switch c := p.in[p.at]; {
		case c == '"':
			p.at++
			p.out = appendString(p.out, value)
			return value, nil
		case c == '\\':
			r, err := p.escape()
			if err != nil {
				return nil, err
			}
			value = utf8.AppendRune(value, r)
		case c < 0x20:
			return nil, p.fail("a string holds the bare control character U+%04X", c)
		default:
			r, size := utf8.DecodeRune(p.in[p.at:])
			if r == utf8.RuneError && size == 1 {
				return nil, p.fail("a string is not UTF-8")
			}
			value = append(value, p.in[p.at:p.at+size]...)
			p.at += size
		}
	}
	return nil, p.fail("a string does not end")
}

func (p *parser) escape() (rune, error) {
	p.at++
	switch c := p.next(); c {
	case '"', '\\', '/':
		return rune(c), nil
	case 'b':
		return '\b', nil
	case 'f':
		return '\f', nil
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 't':
		return '\t', nil
	case 'u':
		return p.unicode()
	}
	p.at--
	return 0, p.fail("a string holds an unknown escape")
}

// unicode reads what follows \u: four digits, or a pair of surrogates.
func (p *parser) unicode() (rune, error) {
	high, err := p.hex4()
	if err != nil {
		return 0, err
	}
	switch {
	case high < 0xD800 || high > 0xDFFF:
		return high, nil
	case high < 0xDC00 && bytes.HasPrefix(p.in[p.at:], []byte(`\u`)):
		p.at += 2
		low, err := p.hex4()
		if err != nil {
			return 0, err
		}
		if 0xDC00 <= low && low <= 0xDFFF {
			return (high-0xD800)<<10 + (low - 0xDC00) + 0x10000, nil
		}
	}
	return 0, p.fail("a string holds a lone surrogate")
}

func (p *parser) hex4() (rune, error) {
	var r rune
	for range 4 {
		c := p.next()
		switch {
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case 'A' <= c && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			p.at--
			return 0, p.fail(`\u is not followed by four hexadecimal digits`)
		}
	}
	return r, nil
}

const hexDigits = "0123456789abcdef"

// AppendString appends s, which must be UTF-8, as a canonical JSON string.
func AppendString(dst []byte, s string) []byte { return appendString(dst, s) }

func appendString[text string | []byte](dst []byte, s text) []byte {
	dst = append(dst, '"')
	done := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[done:i]...)
		done = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\b':
			dst = append(dst, '\\', 'b')
		case '\f':
			dst = append(dst, '\\', 'f')
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(append(dst, s[done:]...), '"')
}

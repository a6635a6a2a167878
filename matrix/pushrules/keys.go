package pushrules

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"
)

// branch is a part of the tree of the event properties that a ruleset asks for. One pass over the event finds them all.
type branch struct {
	name  string
	slot  int // where the property's value goes; -1 when only properties below it are wanted
	below []*branch
}

// keySet collects the keys of conditions.
type keySet struct {
	root  branch
	slots int
}

// slot gives the place of the values of a key (appendices, "Dot-separated property paths").
func (k *keySet) slot(key string) int {
	at := &k.root
	for _, name := range splitKey(key) {
		at = at.child(name)
	}
	if at.slot < 0 {
		at.slot = k.slots
		k.slots++
	}
	return at.slot
}

func (b *branch) child(name string) *branch {
	for _, c := range b.below {
		if c.name == name {
			return c
		}
	}
	c := &branch{name: name, slot: -1}
	b.below = append(b.below, c)
	return c
}

// splitKey takes a key apart at its dots; \. and \\ stand for a dot and a backslash within a name, other backslashes for themselves.
func splitKey(key string) []string {
	var names []string
	var name []byte
	for i := 0; i < len(key); i++ {
		switch c := key[i]; {
		case c == '.':
			names = append(names, string(name))
			name = name[:0]
		case c == '\\' && i+1 < len(key) && (key[i+1] == '.' || key[i+1] == '\\'):
			i++
			name = append(name, key[i])
		default:
			name = append(name, c)
		}
	}
	return append(names, string(name))
}

// extract stores the raw values of the wanted properties of the JSON object, as far as it is one. What is not valid JSON is
// taken for the end of the object.
func (b *branch) extract(values [][]byte, object []byte) {
	s := scanner{object}
	if !s.take('{') {
		return
	}
	for {
		name, ok := s.value()
		if !ok || name[0] != '"' || !s.take(':') {
			return
		}
		value, ok := s.value()
		if !ok {
			return
		}
		if c := b.named(name); c != nil {
			if c.slot >= 0 {
				values[c.slot] = value
			}
			if len(c.below) > 0 {
				c.extract(values, value)
			}
		}
		if !s.take(',') {
			return
		}
	}
}

// named finds the branch with the name, which is a JSON string.
func (b *branch) named(name []byte) *branch {
	text, ok := plain(name)
	if !ok {
		var err error
		if text, err = jsontext.AppendUnquote(nil, name); err != nil {
			return nil
		}
	}
	for _, c := range b.below {
		if string(text) == c.name {
			return c
		}
	}
	return nil
}

// scanner walks over JSON that is known to be valid; of anything else it gives up or gives parts, without harm.
type scanner struct{ rest []byte }

func (s *scanner) space() {
	for len(s.rest) > 0 && (s.rest[0] == ' ' || s.rest[0] == '\t' || s.rest[0] == '\n' || s.rest[0] == '\r') {
		s.rest = s.rest[1:]
	}
}

// take steps over the character if it is next.
func (s *scanner) take(c byte) bool {
	s.space()
	if len(s.rest) == 0 || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

// value steps over a value and gives its bytes, at least one.
func (s *scanner) value() ([]byte, bool) {
	s.space()
	n := 0
	if len(s.rest) == 0 {
		return nil, false
	}
	switch s.rest[0] {
	case '"':
		n = stringEnd(s.rest)
	case '{', '[':
		n = compoundEnd(s.rest)
	default:
		n = bytes.IndexAny(s.rest, ",]}: \t\r\n")
		if n < 0 {
			n = len(s.rest)
		}
	}
	if n <= 0 {
		return nil, false
	}
	value := s.rest[:n]
	s.rest = s.rest[n:]
	return value, true
}

// stringEnd is the length of the string at the beginning of b, -1 when it does not end.
func stringEnd(b []byte) int {
	for n := 1; ; {
		i := bytes.IndexByte(b[n:], '"')
		if i < 0 {
			return -1
		}
		n += i
		escapes := 0
		for b[n-1-escapes] == '\\' {
			escapes++
		}
		if n++; escapes%2 == 0 {
			return n
		}
	}
}

// compoundEnd is the length of the array or object at the beginning of b, -1 when it does not end.
func compoundEnd(b []byte) int {
	depth := 0
	for n := 0; n < len(b); {
		switch b[n] {
		case '"':
			size := stringEnd(b[n:])
			if size < 0 {
				return -1
			}
			n += size
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return n + 1
			}
		}
		n++
	}
	return -1
}

// contains reports whether the JSON array holds the scalar.
func contains(array []byte, want *scalar) bool {
	s := scanner{array}
	if !s.take('[') {
		return false
	}
	for {
		value, ok := s.value()
		if !ok {
			return false
		}
		if want.equals(value) {
			return true
		}
		if !s.take(',') {
			return false
		}
	}
}

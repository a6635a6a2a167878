package filter

import (
	"strings"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/canonicaljson"
)

// Trim gives the event with only the fields that event_fields names; with none named it gives the event itself. A field is a
// path of member names joined by dots; a dot or backslash that belongs to a name is escaped by a backslash (appendices,
// "Dot-separated property paths").
func (f *Filter) Trim(event []byte) []byte {
	if f.fields == nil {
		return event
	}
	return f.fields.pick(make([]byte, 0, len(event)), gjson.ParseBytes(event))
}

// compileFields makes the tree of the wanted fields, nil when all are wanted.
func compileFields(paths []string) *branch {
	if len(paths) == 0 {
		return nil
	}
	wanted := &branch{}
	for _, path := range paths {
		wanted.add(splitPath(path))
	}
	return wanted
}

// branch is a set of paths, as a tree.
type branch struct {
	whole bool
	below map[string]*branch
}

func (b *branch) add(path []string) {
	for _, name := range path {
		if b.below == nil {
			b.below = map[string]*branch{}
		}
		next := b.below[name]
		if next == nil {
			next = &branch{}
			b.below[name] = next
		}
		b = next
	}
	b.whole = true
}

// pick appends the object with the members that the branch names.
func (b *branch) pick(dst []byte, object gjson.Result) []byte {
	dst = append(dst, '{')
	first := true
	object.ForEach(func(name, value gjson.Result) bool {
		next := b.below[name.Str]
		if next == nil || !next.whole && !value.IsObject() {
			return true
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(canonicaljson.AppendString(dst, name.Str), ':')
		if next.whole {
			dst = append(dst, value.Raw...)
		} else {
			dst = next.pick(dst, value)
		}
		return true
	})
	return append(dst, '}')
}

// splitPath takes a path apart at its dots that are not escaped.
func splitPath(path string) []string {
	var names []string
	var name strings.Builder
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case c == '\\' && i+1 < len(path) && (path[i+1] == '.' || path[i+1] == '\\'):
			i++
			name.WriteByte(path[i])
		case c == '.':
			names = append(names, name.String())
			name.Reset()
		default:
			name.WriteByte(c)
		}
	}
	return append(names, name.String())
}

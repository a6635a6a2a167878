package event

import (
	"slices"
	"unsafe"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/canonicaljson"
)

// field is a member of a canonical JSON object; raw is its value.
type field struct {
	name string
	raw  []byte
}

// fields are the members of a canonical JSON object, in order. They share the bytes they were read from.
type fields []field

// read reads JSON that never changes, such as that of an event: what it gives shares the memory, and is not copied out of it.
func read(raw []byte) gjson.Result {
	return gjson.Parse(unsafe.String(unsafe.SliceData(raw), len(raw)))
}

// parse takes a canonical object apart.
func parse(canonical []byte) fields {
	fs := make(fields, 0, 16)
	read(canonical).ForEach(func(name, value gjson.Result) bool {
		fs = append(fs, field{name.Str, canonical[value.Index : value.Index+len(value.Raw)]})
		return true
	})
	return fs
}

// bytes writes the object.
func (fs fields) bytes(dst []byte) []byte {
	if dst == nil {
		size := 2
		for _, f := range fs {
			size += len(f.name) + len(f.raw) + 4
		}
		dst = make([]byte, 0, size)
	}
	dst = append(dst, '{')
	for i, f := range fs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = canonicaljson.AppendString(dst, f.name)
		dst = append(append(dst, ':'), f.raw...)
	}
	return append(dst, '}')
}

func (fs fields) get(name string) ([]byte, bool) {
	for _, f := range fs {
		if f.name == name {
			return f.raw, true
		}
	}
	return nil, false
}

// text is the value of a string member, "" if it is not one.
func (fs fields) text(name string) string {
	raw, _ := fs.get(name)
	if r := read(raw); r.Type == gjson.String {
		return r.Str
	}
	return ""
}

// without gives the object without these members.
func (fs fields) without(names ...string) fields {
	kept := make(fields, 0, len(fs))
	for _, f := range fs {
		if !slices.Contains(names, f.name) {
			kept = append(kept, f)
		}
	}
	return kept
}

// with gives the object with this member set.
func (fs fields) with(name string, raw []byte) fields {
	out := make(fields, 0, len(fs)+1)
	placed := false
	for _, f := range fs {
		if !placed && f.name >= name {
			out = append(out, field{name, raw})
			placed = true
		}
		if f.name != name {
			out = append(out, f)
		}
	}
	if !placed {
		out = append(out, field{name, raw})
	}
	return out
}

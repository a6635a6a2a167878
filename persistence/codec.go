package persistence

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"strings"
)

// How a row becomes bytes, for backends that keep keys and values.
//
// A key is its columns one after another, each in an encoding that orders byte-wise as the values do and that no other
// encoding of that column begins with; so the key columns from the first to any other are an exact prefix.
//
//	string, []byte   the bytes with 00 as 00 FF, then 00 01
//	uint64           8 bytes, big-endian
//	int64            the same with the sign bit flipped
//	bool             00 or 01
//
// A value is the number of its columns (uvarint) and then the columns outside the key:
//
//	string           length (uvarint), bytes
//	*string, []byte  length+1, bytes; 0 is nil
//	uint64, int64    uvarint, zigzag varint; a position: 8 bytes, big-endian, so that it can be set afterwards
//	bool             00 or 01
//
// Columns that were added after the value was written are absent from it and read as zero.

const (
	escape     = 0x00
	escaped00  = 0xff // escape, escaped00 stands for one 00
	terminator = 0x01 // escape, terminator ends the column
	positionSz = 8
)

// EncodeKey appends the key of row (a *R). With stamps, the offsets in dst at which position columns stand are appended
// to it, for Stamp; without, the positions are those of the row.
func (s *Schema) EncodeKey(dst []byte, row any, stamps *[]int) []byte {
	return s.appendKey(dst, s.elem(row), s.keys, stamps)
}

// EncodeValue appends what row (a *R) has besides its key; stamps is as for EncodeKey.
func (s *Schema) EncodeValue(dst []byte, row any, stamps *[]int) []byte {
	v := s.elem(row)
	dst = binary.AppendUvarint(dst, uint64(len(s.columns)-s.keys))
	for i := s.keys; i < len(s.columns); i++ {
		f := v.Field(i)
		switch s.columns[i].Type {
		case String:
			str := f.String()
			dst = binary.AppendUvarint(dst, uint64(len(str)))
			dst = append(dst, str...)
		case NullableString:
			if f.IsNil() {
				dst = append(dst, 0)
				continue
			}
			str := f.Elem().String()
			dst = binary.AppendUvarint(dst, uint64(len(str))+1)
			dst = append(dst, str...)
		case Bytes:
			if f.IsNil() {
				dst = append(dst, 0)
				continue
			}
			b := f.Bytes()
			dst = binary.AppendUvarint(dst, uint64(len(b))+1)
			dst = append(dst, b...)
		case Int64:
			dst = binary.AppendVarint(dst, f.Int())
		case Uint64:
			if s.columns[i].Position {
				dst = s.columns[i].appendPosition(dst, f.Uint(), stamps)
			} else {
				dst = binary.AppendUvarint(dst, f.Uint())
			}
		case Bool:
			dst = appendBool(dst, f.Bool())
		}
	}
	return dst
}

// Stamp writes the position at the offsets that EncodeKey and EncodeValue gave.
func Stamp(buf []byte, stamps []int, p Position) {
	for _, at := range stamps {
		binary.BigEndian.PutUint64(buf[at:], uint64(p))
	}
}

// Bounds gives the keys of a range, each with the given table prefix: those that are ≥ lower and < upper. The prefix
// must not be empty nor all 0xff. A range that does not fit the table is an error.
func (s *Schema) Bounds(table []byte, r RowRange) (lower, upper []byte, err error) {
	if r.Keys < 0 || r.Keys > s.keys || r.Limit < 0 {
		return nil, nil, fmt.Errorf("persistence: table %s: a range cannot have %d key columns and limit %d", s.name, r.Keys, r.Limit)
	}
	if (r.From != nil || r.Before != nil) && r.Keys == s.keys {
		return nil, nil, fmt.Errorf("persistence: table %s: From and Before need a key column after the prefix", s.name)
	}
	prefix := bytes.Clone(table)
	if r.Keys > 0 {
		prefix = s.appendKey(prefix, s.elem(r.Prefix), r.Keys, nil)
	}
	bound := func(row any) []byte {
		return s.appendColumn(bytes.Clone(prefix), s.elem(row), r.Keys, nil)
	}
	lower, upper = prefix, successor(prefix)
	if r.From != nil {
		lower = bound(r.From)
	}
	if r.Before != nil {
		upper = bound(r.Before)
	}
	if r.After != nil {
		after := s.appendKey(bytes.Clone(table), s.elem(r.After), s.keys, nil)
		if r.Reverse {
			if bytes.Compare(after, upper) < 0 {
				upper = after
			}
		} else if after = append(after, 0); bytes.Compare(after, lower) > 0 {
			lower = after
		}
	}
	if bytes.Compare(lower, upper) > 0 {
		upper = lower
	}
	return lower, upper, nil
}

// successor is the smallest string above all that begin with prefix.
func successor(prefix []byte) []byte {
	next := bytes.Clone(prefix)
	for i := len(next) - 1; i >= 0; i-- {
		if next[i] != 0xff {
			next[i]++
			return next[:i+1]
		}
	}
	return nil
}

func (s *Schema) appendKey(dst []byte, v reflect.Value, columns int, stamps *[]int) []byte {
	for i := range columns {
		dst = s.appendColumn(dst, v, i, stamps)
	}
	return dst
}

func (s *Schema) appendColumn(dst []byte, v reflect.Value, i int, stamps *[]int) []byte {
	f := v.Field(i)
	switch s.columns[i].Type {
	case String:
		return appendEscaped(dst, f.String())
	case Bytes:
		return appendEscaped(dst, f.Bytes())
	case Int64:
		return binary.BigEndian.AppendUint64(dst, uint64(f.Int())^(1<<63))
	case Uint64:
		if s.columns[i].Position {
			return s.columns[i].appendPosition(dst, f.Uint(), stamps)
		}
		return binary.BigEndian.AppendUint64(dst, f.Uint())
	default:
		return appendBool(dst, f.Bool())
	}
}

func appendEscaped[T string | []byte](dst []byte, s T) []byte {
	from := 0
	for i := range len(s) {
		if s[i] == escape {
			dst = append(dst, s[from:i]...)
			dst = append(dst, escape, escaped00)
			from = i + 1
		}
	}
	dst = append(dst, s[from:]...)
	return append(dst, escape, terminator)
}

func (c Column) appendPosition(dst []byte, p uint64, stamps *[]int) []byte {
	if stamps != nil && (p == 0 || !c.Once) {
		*stamps = append(*stamps, len(dst))
	}
	return binary.BigEndian.AppendUint64(dst, p)
}

func appendBool(dst []byte, b bool) []byte {
	if b {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// DecodeKey fills the key columns of row (a *R) from what EncodeKey made. Anything else is ErrCorrupt.
func (s *Schema) DecodeKey(row any, key []byte) error {
	v := s.elem(row)
	// One allocation holds all strings of the key: it is never shorter than they are together.
	var arena strings.Builder
	arena.Grow(len(key))
	rest := key
	for i := range s.keys {
		f := v.Field(i)
		switch s.columns[i].Type {
		case String:
			from := arena.Len()
			n, ok := unescape(rest, func(b []byte) { arena.Write(b) })
			if !ok {
				return s.corrupt("key", i)
			}
			f.SetString(arena.String()[from:])
			rest = rest[n:]
		case Bytes:
			b := make([]byte, 0, min(len(rest), 64))
			n, ok := unescape(rest, func(part []byte) { b = append(b, part...) })
			if !ok {
				return s.corrupt("key", i)
			}
			f.SetBytes(b)
			rest = rest[n:]
		case Int64, Uint64:
			if len(rest) < 8 {
				return s.corrupt("key", i)
			}
			u := binary.BigEndian.Uint64(rest)
			if s.columns[i].Type == Int64 {
				f.SetInt(int64(u ^ (1 << 63)))
			} else {
				f.SetUint(u)
			}
			rest = rest[8:]
		default:
			if len(rest) < 1 || rest[0] > 1 {
				return s.corrupt("key", i)
			}
			f.SetBool(rest[0] == 1)
			rest = rest[1:]
		}
	}
	if len(rest) != 0 {
		return s.corrupt("key", s.keys)
	}
	return nil
}

// unescape gives the parts of the escaped column at the beginning of b and the length of its encoding.
func unescape(b []byte, part func([]byte)) (n int, ok bool) {
	for {
		i := bytes.IndexByte(b[n:], escape)
		if i < 0 || n+i+1 >= len(b) {
			return 0, false
		}
		switch b[n+i+1] {
		case terminator:
			part(b[n : n+i])
			return n + i + 2, true
		case escaped00:
			part(b[n : n+i+1])
			n += i + 2
		default:
			return 0, false
		}
	}
}

// span is where a string or byte column stands in a value; a negative length is nil.
type span struct{ from, length int }

// DecodeValue fills the columns of row (a *R) outside the key from what EncodeValue made. Anything else is ErrCorrupt,
// and leaves the row undefined. The row shares no memory with the value.
func (s *Schema) DecodeValue(row any, value []byte) error {
	v := s.elem(row)
	written, at, ok := readUvarint(value, 0)
	if !ok || written > uint64(len(s.columns)-s.keys) {
		return s.corrupt("number of columns", s.keys)
	}
	end := s.keys + int(written)
	// Strings and bytes are copied in two allocations once all lengths are known.
	var fixed [24]span
	spans := fixed[:0]
	var text, blob int
	for i := s.keys; i < end; i++ {
		f := v.Field(i)
		c := &s.columns[i]
		switch c.Type {
		case String, NullableString, Bytes:
			var sp span
			if sp, at, ok = readSpan(value, at, c.Type != String); !ok {
				return s.corrupt("value", i)
			}
			spans = append(spans, sp)
			if c.Type == Bytes {
				blob += max(sp.length, 0)
			} else {
				text += max(sp.length, 0)
			}
		case Int64:
			n, size := binary.Varint(value[at:])
			if size <= 0 {
				return s.corrupt("value", i)
			}
			f.SetInt(n)
			at += size
		case Uint64:
			var n uint64
			if c.Position {
				if len(value)-at < positionSz {
					return s.corrupt("value", i)
				}
				n = binary.BigEndian.Uint64(value[at:])
				at += positionSz
			} else if n, at, ok = readUvarint(value, at); !ok {
				return s.corrupt("value", i)
			}
			f.SetUint(n)
		case Bool:
			if at >= len(value) || value[at] > 1 {
				return s.corrupt("value", i)
			}
			f.SetBool(value[at] == 1)
			at++
		}
	}
	if at != len(value) {
		return s.corrupt("value", end)
	}
	s.copySpans(v, end, value, spans, text, blob)
	for i := end; i < len(s.columns); i++ {
		v.Field(i).SetZero()
	}
	return nil
}

// copySpans sets the string and byte columns before end from their spans; text and blob are their total lengths.
func (s *Schema) copySpans(v reflect.Value, end int, value []byte, spans []span, text, blob int) {
	var arena strings.Builder
	arena.Grow(text)
	bin := make([]byte, 0, blob)
	next := 0
	for i := s.keys; i < end; i++ {
		t := s.columns[i].Type
		if t != String && t != NullableString && t != Bytes {
			continue
		}
		sp := spans[next]
		next++
		f := v.Field(i)
		if sp.length < 0 {
			f.SetZero()
			continue
		}
		part := value[sp.from : sp.from+sp.length]
		if t == Bytes {
			from := len(bin)
			bin = append(bin, part...)
			f.SetBytes(bin[from:len(bin):len(bin)])
			continue
		}
		from := arena.Len()
		arena.Write(part)
		str := arena.String()[from:]
		if t == String {
			f.SetString(str)
		} else {
			f.Set(reflect.ValueOf(&str))
		}
	}
}

func readSpan(value []byte, at int, nullable bool) (span, int, bool) {
	n, at, ok := readUvarint(value, at)
	if !ok || n > math.MaxInt32 {
		return span{}, 0, false
	}
	length := int(n)
	if nullable {
		length--
	}
	if length > len(value)-at {
		return span{}, 0, false
	}
	return span{from: at, length: length}, at + max(length, 0), true
}

func readUvarint(b []byte, at int) (uint64, int, bool) {
	n, size := binary.Uvarint(b[at:])
	return n, at + size, size > 0
}

func (s *Schema) corrupt(what string, column int) error {
	name := "end"
	if column < len(s.columns) {
		name = s.columns[column].Name
	}
	return fmt.Errorf("%w: table %s: %s at %s", ErrCorrupt, s.name, what, name)
}

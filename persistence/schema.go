package persistence

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// ColumnType is what a column holds.
type ColumnType uint8

// The column types, named after the Go types of the fields.
const (
	String         ColumnType = iota + 1 // string
	NullableString                       // *string
	Int64                                // int64
	Uint64                               // uint64
	Bool                                 // bool
	Bytes                                // []byte; nil and empty differ, except in keys, where both read as empty
)

func (t ColumnType) String() string {
	switch t {
	case String:
		return "string"
	case NullableString:
		return "*string"
	case Int64:
		return "int64"
	case Uint64:
		return "uint64"
	case Bool:
		return "bool"
	case Bytes:
		return "[]byte"
	}
	return "invalid"
}

// Column is one column of a table. Columns stand in the order of the row type's fields, key columns first.
type Column struct {
	Name     string
	Type     ColumnType
	Key      bool
	Position bool // a Uint64 that every Put sets to the position of its commit
	Once     bool // a Position that a Put leaves as it is unless it is zero, so that a row can be rewritten
	JSON     bool // Bytes that are JSON text
}

// Schema is a declared table: its name, its columns, and how its rows become bytes. It is immutable, and safe for
// concurrent use. Only NewTable makes one.
//
// Columns may be added at the end: rows that were written before decode with their zero value.
type Schema struct {
	name    string
	row     reflect.Type // R
	columns []Column
	keys    int
}

// Name is the table's name.
func (s *Schema) Name() string { return s.name }

// Columns describes the columns; the caller must not change the slice.
func (s *Schema) Columns() []Column { return s.columns }

// Keys is how many of the columns are key columns; they come first.
func (s *Schema) Keys() int { return s.keys }

// NewRow makes an empty row, a *R.
func (s *Schema) NewRow() any { return reflect.New(s.row).Interface() }

// Values appends the value of each column of row (a *R), in column order, as the field has it: string, *string,
// int64, uint64, bool or []byte.
func (s *Schema) Values(dst []any, row any) []any {
	v := s.elem(row)
	for i := range s.columns {
		dst = append(dst, v.Field(i).Interface())
	}
	return dst
}

// Pointers appends a pointer to each field of row (a *R), in column order, for a driver to read into.
func (s *Schema) Pointers(dst []any, row any) []any {
	v := s.elem(row)
	for i := range s.columns {
		dst = append(dst, v.Field(i).Addr().Interface())
	}
	return dst
}

// elem is the row behind the pointer. A row of another type is a mistake in the program, like an index out of range.
func (s *Schema) elem(row any) reflect.Value {
	v := reflect.ValueOf(row)
	if v.Kind() != reflect.Pointer || v.Type().Elem() != s.row || v.IsNil() {
		panic(fmt.Sprintf("persistence: table %s has rows of type *%v, not %T", s.name, s.row, row))
	}
	return v.Elem()
}

var tables struct {
	sync.Mutex
	byName map[string]*Schema
}

// All gives every declared table, sorted by name.
func All() []*Schema {
	tables.Lock()
	defer tables.Unlock()
	all := make([]*Schema, 0, len(tables.byName))
	for _, s := range tables.byName {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *Schema) int { return strings.Compare(a.name, b.name) })
	return all
}

// register makes the table known to All. It panics when the name is taken.
func register(s *Schema) {
	tables.Lock()
	defer tables.Unlock()
	if tables.byName == nil {
		tables.byName = make(map[string]*Schema)
	}
	if tables.byName[s.name] != nil {
		panic("persistence: table " + s.name + " is declared twice")
	}
	tables.byName[s.name] = s
}

// newSchema reads the col tags of R. It panics when they break the rules of Table.
func newSchema[R any](name string) *Schema {
	s, err := parseSchema(name, reflect.TypeFor[R]())
	if err != nil {
		panic("persistence: table " + name + ": " + err.Error())
	}
	return s
}

func parseSchema(name string, row reflect.Type) (*Schema, error) {
	if !validName(name) {
		return nil, fmt.Errorf("the name must be 1 to 48 of a-z, 0-9 and _, beginning with a letter")
	}
	if row.Kind() != reflect.Struct {
		return nil, fmt.Errorf("rows must be structs, not %v", row)
	}
	s := &Schema{name: name, row: row}
	seen := make(map[string]bool)
	for i := range row.NumField() {
		c, err := parseColumn(row.Field(i))
		if err != nil {
			return nil, fmt.Errorf("field %s: %w", row.Field(i).Name, err)
		}
		if seen[c.Name] {
			return nil, fmt.Errorf("column %s is declared twice", c.Name)
		}
		seen[c.Name] = true
		if c.Key {
			if s.keys != i {
				return nil, fmt.Errorf("key column %s must come before the others", c.Name)
			}
			s.keys++
		}
		s.columns = append(s.columns, c)
	}
	if s.keys == 0 {
		return nil, fmt.Errorf("there is no key column")
	}
	return s, nil
}

func parseColumn(f reflect.StructField) (Column, error) {
	tag, ok := f.Tag.Lookup("col")
	if !ok || !f.IsExported() {
		return Column{}, fmt.Errorf("it must be exported and have a col tag")
	}
	parts := strings.Split(tag, ",")
	c := Column{Name: parts[0], Type: columnTypes[f.Type]}
	if !validName(c.Name) {
		return c, fmt.Errorf("column name %q must be 1 to 48 of a-z, 0-9 and _, beginning with a letter", c.Name)
	}
	if c.Type == 0 {
		return c, fmt.Errorf("type %v is not a column type", f.Type)
	}
	for _, mark := range parts[1:] {
		switch mark {
		case "key":
			c.Key = true
		case "position":
			c.Position = true
		case "once":
			c.Once = true
		case "json":
			c.JSON = true
		default:
			return c, fmt.Errorf("unknown mark %q", mark)
		}
	}
	switch {
	case c.Position && c.Type != Uint64:
		return c, fmt.Errorf("a position must be a uint64")
	case c.Once && !c.Position:
		return c, fmt.Errorf("only a position can be set once")
	case c.JSON && (c.Type != Bytes || c.Key):
		return c, fmt.Errorf("json must be a []byte outside the key")
	case c.Key && c.Type == NullableString:
		return c, fmt.Errorf("a key column cannot be null")
	}
	return c, nil
}

var columnTypes = map[reflect.Type]ColumnType{
	reflect.TypeFor[string]():  String,
	reflect.TypeFor[*string](): NullableString,
	reflect.TypeFor[int64]():   Int64,
	reflect.TypeFor[uint64]():  Uint64,
	reflect.TypeFor[bool]():    Bool,
	reflect.TypeFor[[]byte]():  Bytes,
}

func validName(name string) bool {
	if len(name) == 0 || len(name) > 48 || name[0] < 'a' || name[0] > 'z' {
		return false
	}
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return true
}

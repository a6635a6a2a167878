package config

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// binder puts values into a Config and keeps where each came from. It goes on after a problem, so that a person sees
// all of them at once.
type binder struct {
	config   *Config
	origins  map[string]string // path of a key → where it was set last
	problems Problems
	lenient  bool   // unknown keys mean nothing
	present  string // where what is not given would have to be; empty: nowhere
}

func newBinder(c *Config) *binder {
	return &binder{config: c, origins: map[string]string{}}
}

func (b *binder) fail(where, path, format string, args ...any) {
	b.problems = append(b.problems, Problem{where, path, fmt.Sprintf(format, args...)})
}

// set notes that a key comes from where; what came from elsewhere below it is overwritten.
func (b *binder) set(path, where string) {
	for p := range b.origins {
		if strings.HasPrefix(p, path+".") {
			delete(b.origins, p)
		}
	}
	b.origins[path] = where
}

// whereIs finds where a key, or the nearest one around it, was set.
func (b *binder) whereIs(path string) string {
	for path != "" {
		if where, ok := b.origins[path]; ok {
			return where
		}
		path = path[:max(0, strings.LastIndexByte(path, '.'))]
	}
	return b.present
}

// file binds a YAML document; name stands in the problems.
func (b *binder) file(name string, text []byte) {
	root, where, err := parseYAML(text)
	switch {
	case err != nil:
		b.fail(name+where, "", "%s", err)
	case root != nil:
		b.node("", root, reflect.ValueOf(b.config).Elem(), func(n ast.Node) string { return name + position(n) })
	}
}

// parseYAML parses one document; it is nil when there is nothing but comments.
func parseYAML(text []byte) (root ast.Node, where string, err error) {
	file, err := parser.ParseBytes(text, 0)
	var syntax *yaml.SyntaxError
	if errors.As(err, &syntax) {
		at := syntax.Token.Position
		return nil, fmt.Sprintf(":%d:%d", at.Line, at.Column), errors.New(syntax.Message)
	}
	if err != nil {
		return nil, "", err
	}
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if root != nil {
			return nil, position(doc.Body), errors.New("only one YAML document is expected")
		}
		root = doc.Body
	}
	return root, "", nil
}

func position(n ast.Node) string {
	at := n.GetToken().Position
	return fmt.Sprintf(":%d:%d", at.Line, at.Column)
}

// node binds a YAML node to v. at says where a node stands.
func (b *binder) node(path string, n ast.Node, v reflect.Value, at func(ast.Node) string) {
	if path != "" {
		b.set(path, at(n))
	}
	_, null := n.(*ast.NullNode)
	switch {
	case isScalar(v):
		text, ok := scalarText(n)
		switch {
		case null && v.Kind() == reflect.String:
			v.SetString("")
		case null:
			b.fail(at(n), path, "a value is missing")
		case !ok:
			b.fail(at(n), path, "a single value is expected, not %s", describe(n))
		default:
			b.scalar(path, at(n), text, v)
		}
	case v.Kind() == reflect.Slice:
		b.sequence(path, n, v, at)
	case !null: // a key with all below it commented out changes nothing
		b.mapping(path, n, v, at)
	}
}

func (b *binder) mapping(path string, n ast.Node, v reflect.Value, at func(ast.Node) string) {
	var pairs []*ast.MappingValueNode
	switch m := n.(type) {
	case *ast.MappingNode:
		pairs = m.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{m}
	default:
		b.fail(at(n), path, "keys with values are expected, not %s", describe(n))
		return
	}
	for _, pair := range pairs {
		key := pair.Key.GetToken().Value
		field, ok := fieldByKey(v, key)
		switch {
		case !ok && b.lenient:
			continue
		case !ok:
			b.fail(at(pair.Key), join(path, key), "%s", unknownKey(key, keysOf(v)))
			continue
		}
		b.node(join(path, key), pair.Value, field, at)
	}
}

func (b *binder) sequence(path string, n ast.Node, v reflect.Value, at func(ast.Node) string) {
	var values []ast.Node
	switch s := n.(type) {
	case *ast.SequenceNode:
		values = s.Values
	case *ast.NullNode:
	default:
		b.fail(at(n), path, "a list is expected, not %s", describe(n))
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(values), len(values)))
	for i, value := range values {
		b.node(join(path, strconv.Itoa(i)), value, v.Index(i), at)
	}
}

// text binds what a variable or a flag says: a scalar as it stands, a list as YAML or comma separated, the rest as YAML.
func (b *binder) text(path, where, text string, v reflect.Value) {
	yamlList := strings.HasPrefix(strings.TrimSpace(text), "[")
	switch {
	case isScalar(v):
		b.set(path, where)
		b.scalar(path, where, text, v)
	case v.Kind() == reflect.Slice && !yamlList && isScalar(reflect.New(v.Type().Elem()).Elem()):
		b.set(path, where)
		words := strings.FieldsFunc(text, func(r rune) bool { return r == ',' })
		v.Set(reflect.MakeSlice(v.Type(), len(words), len(words)))
		for i, word := range words {
			b.scalar(join(path, strconv.Itoa(i)), where, strings.TrimSpace(word), v.Index(i))
		}
	default:
		root, _, err := parseYAML([]byte(text))
		switch {
		case err != nil:
			b.fail(where, path, "%s", err)
		case root == nil:
			b.fail(where, path, "a value is missing")
		default:
			b.node(path, root, v, func(ast.Node) string { return where })
		}
	}
}

// scalar parses text into v. A value that is a secret is not repeated in the problem.
func (b *binder) scalar(path, where, text string, v reflect.Value) {
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		err := u.UnmarshalText([]byte(text))
		if _, network := u.(*netip.Prefix); network && err != nil {
			err = fmt.Errorf("%q is not a network such as 10.0.0.0/8 or fd00::/8", text)
		}
		if err != nil {
			b.fail(where, path, "%s", err)
		}
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		if text != "true" && text != "false" {
			b.fail(where, path, "%q is neither true nor false", text)
			return
		}
		v.SetBool(text == "true")
	case reflect.Int:
		n, err := strconv.ParseInt(text, 10, v.Type().Bits())
		if err != nil {
			b.fail(where, path, "%q is not a whole number, or it is too large", text)
			return
		}
		v.SetInt(n)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		n, err := strconv.ParseUint(text, 10, v.Type().Bits())
		if err != nil {
			b.fail(where, path, "%q is not a whole number from 0 to %d", text, uint64(1)<<v.Type().Bits()-1)
			return
		}
		v.SetUint(n)
	case reflect.Float64:
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsInf(n, 0) || math.IsNaN(n) {
			b.fail(where, path, "%q is not a number", text)
			return
		}
		v.SetFloat(n)
	default:
		panic("config: no way to read a " + v.Type().String()) // a field's type is our own mistake
	}
}

func isScalar(v reflect.Value) bool {
	if _, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return true
	}
	return v.Kind() != reflect.Struct && v.Kind() != reflect.Slice
}

// scalarText is what a person wrote: a password of digits stays as it is, leading zeros included.
func scalarText(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.StringNode:
		return n.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	}
	return "", false
}

func describe(n ast.Node) string {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "keys with values"
	case *ast.SequenceNode:
		return "a list"
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode:
		return "an anchor or alias, which this file cannot have"
	case *ast.TagNode:
		return "a tag, which this file cannot have"
	}
	return "a single value"
}

// fieldByKey is the field of a struct that has this key.
func fieldByKey(v reflect.Value, key string) (reflect.Value, bool) {
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("yaml") == key {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

func keysOf(v reflect.Value) []string {
	keys := make([]string, v.NumField())
	for i := range keys {
		keys[i] = v.Type().Field(i).Tag.Get("yaml")
	}
	return keys
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

package canonicaljson

import (
	"bytes"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"
)

func canonical(t testing.TB, raw string, o Options) string {
	t.Helper()
	b, err := Canonicalize(nil, []byte(raw), o)
	if err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return string(b)
}

// The examples of the specification (appendices, "Canonical JSON"). The last holds numbers that strict rooms refuse.
func TestSpecificationExamples(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		`{}`: `{}`,
		"{\n    \"one\": 1,\n    \"two\": \"Two\"\n}": `{"one":1,"two":"Two"}`,
		"{\n    \"b\": \"2\",\n    \"a\": \"1\"\n}":   `{"a":"1","b":"2"}`,
		`{"b":"2","a":"1"}`:                           `{"a":"1","b":"2"}`,
		`{
    "auth": {
        "success": true,
        "mxid": "@john.doe:example.com",
        "profile": {
            "display_name": "John Doe",
            "three_pids": [
                {
                    "medium": "email",
                    "address": "john.doe@example.org"
                },
                {
                    "medium": "msisdn",
                    "address": "123456789"
                }
            ]
        }
    }
}`: `{"auth":{"mxid":"@john.doe:example.com","profile":{"display_name":"John Doe","three_pids":[{"address":"john.doe@example.org","medium":"email"},{"address":"123456789","medium":"msisdn"}]},"success":true}}`,
		"{\n    \"a\": \"日本語\"\n}":              `{"a":"日本語"}`,
		"{\n    \"本\": 2,\n    \"日\": 1\n}":     `{"日":1,"本":2}`,
		"{\n    \"a\": \"\\u65E5\"\n}":          `{"a":"日"}`,
		"{\n    \"a\": null\n}":                 `{"a":null}`,
		"{\n    \"a\": -0,\n    \"b\": 1e10\n}": `{"a":0,"b":10000000000}`,
	} {
		if got := canonical(t, raw, Options{}); got != want {
			t.Errorf("%s\ngives %s\nwant  %s", raw, got, want)
		}
		strict, err := Canonicalize(nil, []byte(raw), Options{Strict: true})
		if numbers := strings.Contains(raw, "1e10"); (err != nil) != numbers || !numbers && string(strict) != want {
			t.Errorf("strict: %s gives %s, %v", raw, strict, err)
		}
	}
}

// Only what must be escaped is, and in the shortest way.
func TestStrings(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		`"\u0000\u0001\u0007\u000b\u000E\u001F"`:     `"\u0000\u0001\u0007\u000b\u000e\u001f"`,
		`"\b\f\n\r\t\u0008\u000c\u000a\u000d\u0009"`: `"\b\f\n\r\t\b\f\n\r\t"`,
		`"\"\\\/\u0022\u005C\u002F"`:                 `"\"\\/\"\\/"`,
		`"<>&\u003c\u003E\u0026\u007f'"`:             "\"<>&<>&\x7f'\"",
		`"\u2028\u2029"`:                             "\"\u2028\u2029\"",
		`"\uD83D\ude00"`:                             `"😀"`,
		`"\uFFFD\uffff\uE000\uD7FF"`:                 "\"\uFFFD\uFFFF\uE000\uD7FF\"",
		"\"\uFEFF\U0010FFFF\"":                       "\"\uFEFF\U0010FFFF\"",
		`"\u00e9"`:                                   `"é"`,
		`"e\u0301"`:                                  "\"e\u0301\"", // no normalisation
		` "" `:                                       `""`,
		"{\"\\u0061\":1,\"\\n\":2,\" \":3}":          `{"\n":2," ":3,"a":1}`, // sorted by what keys mean
		"{\"\\\"\":1,\"!\":2,\"#\":3}":               `{"!":2,"\"":1,"#":3}`,
		"{\"\uFFFF\":1,\"\U00010000\":2}":            "{\"\uFFFF\":1,\"\U00010000\":2}",
		"{\"\U00010000\":2,\"\uFFFF\":1}":            "{\"\uFFFF\":1,\"\U00010000\":2}",
		`{"\ud800\udc00":2,"\uffff":1,"":0}`:         "{\"\":0,\"\uFFFF\":1,\"\U00010000\":2}",
		`{"aa":1,"a":2,"ab":3,"A":4,"a\u0000":5}`:    `{"A":4,"a":2,"a\u0000":5,"aa":1,"ab":3}`,
	} {
		if got := canonical(t, raw, Options{Strict: true}); got != want {
			t.Errorf("%s gives %q, want %q", raw, got, want)
		}
	}
}

// refused stands for a text that is not accepted.
const refused = ""

func TestNumbers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ raw, strict, lenient string }{
		{"0", "0", "0"},
		{"-1", "-1", "-1"},
		{"9007199254740991", "9007199254740991", "9007199254740991"},
		{"-9007199254740991", "-9007199254740991", "-9007199254740991"},
		{"9007199254740992", refused, "9007199254740992"},
		{"-9007199254740992", refused, "-9007199254740992"},
		{"9999999999999999", refused, "9999999999999999"},
		{"10000000000000000", refused, "10000000000000000"},
		{"18446744073709551617", refused, "18446744073709551617"}, // 1 if it wrapped around
		{"123456789012345678901234567890", refused, "123456789012345678901234567890"},
		{"-0", refused, "0"},
		{"-0e5", refused, "0"},
		{"0E-5", refused, "0"},
		{"-0.0", refused, "-0.0"},
		{"1.0", refused, "1.0"},
		{"1.50", refused, "1.50"},
		{"1e2", refused, "100"},
		{"1E2", refused, "100"},
		{"-12e+03", refused, "-12000"},
		{"1e000000000000000000000000000002", refused, "100"},
		{"9e15", refused, "9000000000000000"},
		{"1e16", refused, "1e16"},
		{"1E400", refused, "1E400"},
		{"1e99999999999999999999", refused, "1e99999999999999999999"},
		{"1e-2", refused, "1e-2"},
		{"1.5e1", refused, "1.5e1"},
		{"01", refused, refused},
		{"-01", refused, refused},
		{"00", refused, refused},
		{"+1", refused, refused},
		{"-", refused, refused},
		{".5", refused, refused},
		{"1.", refused, refused},
		{"1.e1", refused, refused},
		{"1e", refused, refused},
		{"1e+", refused, refused},
		{"0x1", refused, refused},
		{"1 2", refused, refused},
		{"NaN", refused, refused},
		{"Infinity", refused, refused},
		{"-Infinity", refused, refused},
	} {
		for strict, want := range map[bool]string{true: c.strict, false: c.lenient} {
			for _, shape := range []string{"%s", "[%s]", `{"a":%s}`} {
				got, err := Canonicalize(nil, fmt.Appendf(nil, shape, c.raw), Options{Strict: strict})
				switch {
				case want == refused && err == nil:
					t.Errorf("strict %v: %s is accepted as %s", strict, c.raw, got)
				case want != refused && string(got) != fmt.Sprintf(shape, want):
					t.Errorf("strict %v: %s gives %s, want %s (%v)", strict, c.raw, got, want, err)
				}
			}
		}
	}
}

// What parsers could read differently, or not at all, is refused, with the place where it is wrong.
func TestRefused(t *testing.T) {
	t.Parallel()
	for raw, offset := range map[string]int{
		"": 0, " \n": 2, "x": 0, "nul": 0, "True": 0, "{": 1, "[": 1, `"`: 1, `"a`: 2, "]": 0,
		`[1`: 2, `[1,`: 3, `[1,]`: 3, `[,1]`: 1, `[1 2]`: 3, `{"a"`: 4, `{"a":`: 5, `{"a" 1}`: 5, `{"a":1`: 6, `{"a":1,`: 7, `{"a":1,}`: 7, `{a:1}`: 1, `{"a":1 "b":2}`: 7, `{1:2}`: 1,
		`{}{}`: 2, `1,`: 1, `{} x`: 3, "\ufeff{}": 0, "{}\x00": 2, "[1,\v2]": 3, "/**/1": 0,
		`{"a":1,"a":1}`: 12, `{"a":1,"b":1,"\u0061":2}`: 24, `[{"":1,"":1}]`: 11,
		"\"\xff\"": 1, "\"a\xc3\"": 2, "\"\xed\xa0\x80\"": 1, "\"\xc0\x80\"": 1, "\"\xf4\x90\x80\x80\"": 1, "{\"\xff\":1}": 2,
		`"\ud800"`: 7, `"\udc00"`: 7, `"\ud800\ud800"`: 13, `"\ud800x"`: 7, `"\ud800\n"`: 7, `"\udc00\ud800"`: 7,
		"\"\x00\"": 1, "\"\n\"": 1, "\"\x1f\"": 1, `"\x41"`: 2, `"\u12"`: 5, `"\u123g"`: 6, `"\`: 2, `"\u`: 3, `"\U0041"`: 2, `'a'`: 0,
	} {
		got, err := Canonicalize(nil, []byte(raw), Options{})
		var syntax *SyntaxError
		if !errors.As(err, &syntax) {
			t.Errorf("%q gives %q, %v", raw, got, err)
			continue
		}
		if syntax.Offset != offset || syntax.Reason == "" {
			t.Errorf("%q: %v, want byte %d", raw, err, offset)
		}
	}
}

func TestDepth(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		max  int
		raw  string
		fits bool
	}{
		{0, strings.Repeat("[", 200) + strings.Repeat("]", 200), true},
		{0, strings.Repeat("[", 200) + "1" + strings.Repeat("]", 200), true},
		{0, strings.Repeat("[", 201) + strings.Repeat("]", 201), false},
		{0, strings.Repeat(`{"a":`, 200) + "{}" + strings.Repeat("}", 200), false},
		{0, strings.Repeat(`{"a":`, 199) + "[]" + strings.Repeat("}", 199), true},
		{0, strings.Repeat("[", 1_000_000), false},
		{0, strings.Repeat(`{"a":`, 100_000), false},
		{1, `[]`, true}, {1, `[1,"x",null]`, true}, {1, `[[]]`, false}, {1, `{"a":{}}`, false}, {2, `{"a":[]}`, true},
	} {
		if _, err := Canonicalize(nil, []byte(c.raw), Options{MaxDepth: c.max}); (err == nil) != c.fits {
			t.Errorf("depth %d, %.20s…: %v", c.max, c.raw, err)
		}
	}
}

// Canonicalize appends: what stands before stays.
func TestAppends(t *testing.T) {
	t.Parallel()
	got, err := Canonicalize([]byte("before:"), []byte(`{"b":[{"d":1,"c":2}],"a":{"z":{"y":1,"x":2},"w":3}}`), Options{})
	if want := `before:{"a":{"w":3,"z":{"x":2,"y":1}},"b":[{"c":2,"d":1}]}`; err != nil || string(got) != want {
		t.Errorf("%s, %v", got, err)
	}
}

func TestMarshal(t *testing.T) {
	t.Parallel()
	got, err := Marshal(struct {
		B string         `json:"b"`
		A map[string]int `json:"a"`
	}{"<\u2028>", map[string]int{"\U00010000": 1, "\uFFFF": 2}})
	if want := "{\"a\":{\"\uFFFF\":2,\"\U00010000\":1},\"b\":\"<\u2028>\"}"; err != nil || string(got) != want {
		t.Errorf("%s, %v", got, err)
	}
	for _, v := range []any{make(chan int), "\xff", jsontext.Value(`{"a":1,"a":2}`)} {
		if b, err := Marshal(v); err == nil {
			t.Errorf("%v gives %s", v, b)
		}
	}
}

// text draws strings in which all kinds of characters meet.
func text() *rapid.Generator[string] {
	return rapid.StringOf(rapid.OneOf(rapid.Rune(), rapid.RuneFrom([]rune{'a', 'b', '"', '\\', '/', '<', 0, 1, '\n', 0x7f, 0xE9, 0x2028, 0xD7FF, 0xE000, 0xFFFD, 0xFFFF, 0x10000, 0x1F600, 0x10FFFF})))
}

// value draws a JSON value: nil, bool, int64, string, []any or map[string]any.
func value(depth int) *rapid.Generator[any] {
	return rapid.Custom(func(rt *rapid.T) any {
		kinds := 4
		if depth > 0 {
			kinds = 6
		}
		switch rapid.IntRange(0, kinds-1).Draw(rt, "kind") {
		case 0:
			return nil
		case 1:
			return rapid.Bool().Draw(rt, "bool")
		case 2:
			return rapid.Int64Range(MinInteger, MaxInteger).Draw(rt, "integer")
		case 3:
			return text().Draw(rt, "string")
		case 4:
			return rapid.SliceOfN(value(depth-1), 0, 4).Draw(rt, "array")
		}
		return rapid.MapOfN(text(), value(depth-1), 0, 5).Draw(rt, "object")
	})
}

// reference writes the canonical form as the specification's sentences have it, with no thought of speed.
func reference(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return strconv.FormatBool(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case string:
		var b strings.Builder
		for _, r := range v {
			switch short := strings.IndexRune("\"\\\b\f\n\r\t", r); {
			case short >= 0:
				b.WriteString(`\` + `"\bfnrt`[short:short+1])
			case r < 0x20:
				fmt.Fprintf(&b, `\u%04x`, r)
			default:
				b.WriteRune(r)
			}
		}
		return `"` + b.String() + `"`
	case []any:
		var parts []string
		for _, e := range v {
			parts = append(parts, reference(e))
		}
		return "[" + strings.Join(parts, ",") + "]"
	}
	object, _ := v.(map[string]any)
	var keys [][]rune
	for key := range object {
		keys = append(keys, []rune(key))
	}
	slices.SortFunc(keys, slices.Compare[[]rune])
	var parts []string
	for _, key := range keys {
		parts = append(parts, reference(string(key))+":"+reference(object[string(key)]))
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// spelling writes the value in one of the many ways that JSON allows.
func spelling(rt *rapid.T, v any) string {
	space := func() string {
		return rapid.SampledFrom([]string{"", "", "", " ", "\n", "\t\r\n  "}).Draw(rt, "space")
	}
	switch v := v.(type) {
	case string:
		var b strings.Builder
		for _, r := range v {
			if r >= 0x20 && r != '"' && r != '\\' && rapid.IntRange(0, 2).Draw(rt, "escape") > 0 {
				b.WriteRune(r)
				continue
			}
			for _, unit := range utf16.Encode([]rune{r}) {
				fmt.Fprintf(&b, rapid.SampledFrom([]string{`\u%04x`, `\u%04X`}).Draw(rt, "case"), unit)
			}
		}
		return `"` + b.String() + `"`
	case []any:
		var parts []string
		for _, e := range v {
			parts = append(parts, space()+spelling(rt, e)+space())
		}
		return "[" + strings.Join(parts, ",") + space() + "]"
	case map[string]any:
		var keys []string
		for key := range v {
			keys = append(keys, key)
		}
		slices.Sort(keys) // so that the same draws give the same text
		var parts []string
		for _, key := range keys {
			parts = append(parts, space()+spelling(rt, key)+space()+":"+space()+spelling(rt, v[key])+space())
		}
		if len(parts) > 1 {
			parts = rapid.Permutation(parts).Draw(rt, "order")
		}
		return "{" + strings.Join(parts, ",") + space() + "}"
	}
	return reference(v)
}

// However a value is spelt, its canonical form is the reference's; and the canonical form stays as it is.
func TestEverySpellingHasOneForm(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		v := value(3).Draw(rt, "value")
		raw, want := spelling(rt, v), reference(v)
		for _, o := range []Options{{}, {Strict: true}} {
			for _, in := range []string{raw, want} {
				got, err := Canonicalize(nil, []byte(in), o)
				if err != nil || string(got) != want {
					rt.Fatalf("%s gives %s, %v; want %s", in, got, err, want)
				}
			}
		}
		marshalled, err := Marshal(v)
		if err != nil || string(marshalled) != want {
			rt.Fatalf("Marshal gives %s, %v; want %s", marshalled, err, want)
		}
		if !jsontext.Value(want).IsValid() {
			rt.Fatalf("%s is not JSON", want)
		}
	})
}

// A number keeps its value, whatever becomes of its spelling.
func TestNumbersKeepTheirValue(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		raw := rapid.StringMatching(`-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?`).Draw(rt, "number")
		got, err := Canonicalize(nil, []byte(raw), Options{})
		if err != nil {
			rt.Fatal(err)
		}
		before, ok1 := new(big.Rat).SetString(raw)
		after, ok2 := new(big.Rat).SetString(string(got))
		if !ok1 || !ok2 || before.Cmp(after) != 0 {
			rt.Fatalf("%s became %s", raw, got)
		}
		strict, err := Canonicalize(nil, []byte(raw), Options{Strict: true})
		n, parse := strconv.ParseInt(raw, 10, 64)
		want := parse == nil && n >= MinInteger && n <= MaxInteger && raw == strconv.FormatInt(n, 10)
		if (err == nil) != want || want && string(strict) != raw {
			rt.Fatalf("strict: %s gives %s, %v", raw, strict, err)
		}
	})
}

// Accepted is exactly what another careful parser accepts, within the depth; the result is canonical and means the same.
func FuzzCanonicalize(f *testing.F) {
	for _, seed := range []string{`{}`, `{"b":[1,-0,1e10,1.5],"a":{"\ud83d\ude00":null,"é":true}}`, `{"a":1,"a":2}`, `"\ud800"`, "\"\xff\"",
		`[9007199254740992]`, strings.Repeat("[", 300), `{"\u0061":"\u0000\/"}`, ` [ ] `, `01`, `1e`, `"`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := Canonicalize(nil, raw, Options{})
		if err != nil {
			if !strings.Contains(err.Error(), "deep") && jsontext.Value(raw).IsValid() {
				t.Fatalf("%q is refused: %v", raw, err)
			}
			return
		}
		if !jsontext.Value(raw).IsValid() {
			t.Fatalf("%q is accepted", raw)
		}
		again, err := Canonicalize(nil, got, Options{})
		if err != nil || !bytes.Equal(again, got) {
			t.Fatalf("%q gives %q, and that gives %q, %v", raw, got, again, err)
		}
		strict, err := Canonicalize(nil, raw, Options{Strict: true})
		if err == nil && !bytes.Equal(strict, got) {
			t.Fatalf("%q gives %q, strictly %q", raw, got, strict)
		}
	})
}

func BenchmarkCanonicalize(b *testing.B) {
	sorted := []byte(canonical(b, `{"type":"m.room.message","sender":"@alice:example.org","room_id":"!abc:example.org","origin_server_ts":1700000000000,"depth":12,`+
		`"prev_events":["$`+strings.Repeat("a", 43)+`"],"auth_events":["$`+strings.Repeat("b", 43)+`"],"content":{"msgtype":"m.text","body":"`+strings.Repeat("hello ", 60)+`"}}`, Options{}))
	dst := make([]byte, 0, len(sorted))
	b.SetBytes(int64(len(sorted)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Canonicalize(dst[:0], sorted, Options{Strict: true}); err != nil {
			b.Fatal(err)
		}
	}
}

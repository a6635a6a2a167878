package pdus

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

// endless is a text after which another is repeated for ever.
func endless(first, again string) io.Reader {
	return io.MultiReader(strings.NewReader(first), &repeat{text: again})
}

type repeat struct {
	text string
	at   int
}

func (r *repeat) Read(p []byte) (n int, err error) {
	for n < len(p) {
		some := copy(p[n:], r.text[r.at:])
		n, r.at = n+some, (r.at+some)%len(r.text)
	}
	return n, nil
}

func TestNoValueIsLargerThanMemoryAllows(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]io.Reader{
		"a text":    endless(`{"a":"`, "x"),
		"a list":    endless(`{"a":[1`, ",1"),
		"an object": endless(`{"a":{"b":0`, " "),
		"a space":   endless(`{"a": `, " "),
	} {
		d := NewDecoder(r)
		for range 2 {
			if _, err := d.ReadToken(); err != nil {
				t.Fatal(err)
			}
		}
		if v, err := d.ReadValue(); !errors.Is(err, errLargeValue) {
			t.Errorf("%s: %d bytes, %v", name, len(v), err)
		}
	}
	d := NewDecoder(endless(`"`, "x"))
	if err := d.SkipValue(); !errors.Is(err, errLargeValue) {
		t.Error(err)
	}
}

func TestLongAnswersAreRead(t *testing.T) {
	t.Parallel()
	long := strings.Repeat(`{"a":[1,"x",null]},`, 500_000) // more than one value may have
	d := NewDecoder(strings.NewReader(`{"skipped":[` + long + `{}],"list":[` + long + `{}],"after":true}`))
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	token := func() jsontext.Token {
		t.Helper()
		token, err := d.ReadToken()
		must(err)
		return token
	}
	token()
	token()
	must(d.SkipValue())
	if got := token().String(); got != "list" {
		t.Fatal(got)
	}
	token()
	n := 0
	for ; d.PeekKind() != ']'; n++ {
		_, err := d.ReadValue()
		must(err)
	}
	token()
	if got := token().String(); got != "after" || n != 500_001 {
		t.Error(got, n)
	}
	must(d.SkipValue())
	if d.PeekKind() != '}' {
		t.Error("it does not end")
	}
}

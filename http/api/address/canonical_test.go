package address_test

import (
	"strings"
	"testing"

	"github.com/matrixon/matrixon/http/api/address"
)

func TestCanonical(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"bob@example.com": "bob@example.com", "Strauß@Example.com": "strauss@example.com", "a.b+c@Sub.Example.org": "a.b+c@sub.example.org",
	} {
		if got, ok := address.Canonical(text); !ok || got != want {
			t.Errorf("%s becomes %q, %t", text, got, ok)
		}
	}
	for _, text := range []string{"", "@", "bob", "bob@", "@example.com", "Bob <bob@example.com>", "<bob@example.com>", " bob@example.com", "bob@example.com\r\nBcc: x@y.z",
		"mailto:bob@example.com x", "bob@[127.0.0.1]", "bob@nowhere", "a@b.c, d@e.f", strings.Repeat("a", 250) + "@b.cd"} {
		if got, ok := address.Canonical(text); ok {
			t.Errorf("%q is taken for %q", text, got)
		}
	}
}

package media

import (
	"bytes"
	"errors"
	"mime"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/matrixon/matrixon/matrix/mxerr"
)

// TestDispositionsCanBeRead: whatever a file is called, the header is one that others read, and has that name.
func TestDispositionsCanBeRead(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		name, err := declaredFilename(rapid.OneOf(rapid.String(), rapid.StringMatching(`[ -~]{1,20}`)).Draw(t, "name"))
		if err != nil {
			return
		}
		header := disposition(rapid.Bool().Draw(t, "inline"), &name)
		kind, parameters, err := mime.ParseMediaType(header)
		if err != nil || kind != "inline" && kind != "attachment" {
			t.Fatalf("%q: %v", header, err)
		}
		if parameters["filename"] != name || len(parameters) > 1 {
			t.Fatalf("%q has %q", header, parameters)
		}
		if strings.ContainsFunc(header, func(c rune) bool { return c < ' ' || c >= utf8.RuneSelf }) {
			t.Fatalf("%q is no header", header)
		}
	})
}

func FuzzServed(f *testing.F) {
	f.Add("text/html; charset=x")
	f.Add("image/png, text/html")
	f.Add("image/svg+xml")
	f.Fuzz(func(t *testing.T, declared string) {
		got, shown := served(declared)
		base, _, err := mime.ParseMediaType(got)
		if err != nil {
			t.Fatalf("%q is served as %q", declared, got)
		}
		if shown && (strings.Contains(base, "html") || strings.Contains(base, "xml") || strings.Contains(base, "script") || strings.Contains(base, "pdf")) {
			t.Fatalf("%q is shown", got)
		}
	})
}

// TestUploadsThatTrickle: an upload has to get on after its first half minute.
func TestUploadsThatTrickle(t *testing.T) {
	t.Parallel()
	read := func(size int, ago time.Duration) error {
		s := &steady{r: bytes.NewReader(make([]byte, size)), since: time.Now().Add(-ago)}
		_, err := s.Read(make([]byte, size))
		return err
	}
	for name, test := range map[string]struct {
		size int
		ago  time.Duration
		slow bool
	}{
		"at first": {1, 20 * time.Second, false}, "slow": {1000, 5 * time.Minute, true}, "steady": {600 << 10, 5 * time.Minute, false},
	} {
		err := read(test.size, test.ago)
		var refused *mxerr.Error
		if slow := errors.As(err, &refused) && refused.Status == http.StatusRequestTimeout; slow != test.slow || !slow && err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

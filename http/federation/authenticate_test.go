package federation_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/matrixon/matrixon/actors/federation"
	httpfederation "github.com/matrixon/matrixon/http/federation"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/signing"
	"github.com/matrixon/matrixon/matrix/xmatrix"
)

var (
	now     = time.UnixMilli(1_000_000)
	first   = signing.NewKey("first", make([]byte, 32))
	second  = signing.NewKey("second", []byte(strings.Repeat("2", 32)))
	expired = signing.NewKey("expired", []byte(strings.Repeat("x", 32)))
)

// known are the keys of origin.test.
type known struct{}

// Key implements federation.Keys.
func (known) Key(_ context.Context, server, keyID string, at int64) (ed25519.PublicKey, error) {
	if server == "broken.test" {
		return nil, errors.New("the database is gone")
	}
	for _, k := range []signing.Key{first, second, expired} {
		if server == "origin.test" && k.ID == keyID && (k.ID != expired.ID || at < now.UnixMilli()) {
			return k.Public(), nil
		}
	}
	return nil, federation.ErrNoKey
}

// signature is the header with which origin signs.
func signature(t *testing.T, k signing.Key, method, uri, origin, destination, body string) xmatrix.Header {
	t.Helper()
	var content []byte
	if body != "" {
		content = []byte(body)
	}
	signed, err := xmatrix.Signed(method, uri, origin, destination, content)
	if err != nil {
		t.Fatal(err)
	}
	return xmatrix.Header{Origin: origin, Destination: destination, Key: k.ID, Signature: signing.Sign(signed, k)}
}

// HARD_PLACES.md 25: all ways to write the header, and odd escapes.
func TestAuthenticateServer(t *testing.T) {
	t.Parallel()
	const uri, body = "/_matrix/federation/v1/send/1?a=%2F%c3%A4+b&&x", `{"b":1.5,"a":[]}`
	good := signature(t, first, "PUT", uri, "origin.test", "here.test", body)
	also := signature(t, second, "PUT", uri, "origin.test", "here.test", body)
	with := func(change func(h *xmatrix.Header)) string {
		h := good
		change(&h)
		return h.String()
	}
	sign := func(method, uri, origin, destination, body string) string {
		return signature(t, first, method, uri, origin, destination, body).String()
	}
	for name, c := range map[string]struct {
		headers []string
		body    string
		uri     string
		code    string // empty: it is authentic
	}{
		"signed":                            {headers: []string{good.String()}},
		"by two keys":                       {headers: []string{good.String(), also.String()}},
		"by a key that is not known too":    {headers: []string{with(func(h *xmatrix.Header) { h.Key = "ed25519:other" }), good.String()}},
		"by an old server":                  {headers: []string{strings.Replace(good.String(), `destination="here.test",`, "", 1)}},
		"unquoted":                          {headers: []string{strings.ReplaceAll(good.String(), `"`, "")}},
		"with a token besides":              {headers: []string{"Bearer abc", good.String()}},
		"the same JSON, spelt otherwise":    {headers: []string{good.String()}, body: `{ "a":[ ], "b":1.5 }`},
		"the absolute form":                 {headers: []string{good.String()}, uri: "https://here.test" + uri},
		"not signed":                        {code: "M_UNAUTHORIZED"},
		"with a token":                      {headers: []string{"Bearer abc"}, code: "M_UNAUTHORIZED"},
		"another body":                      {headers: []string{good.String()}, body: `{"b":1.5,"a":[1]}`, code: "M_UNAUTHORIZED"},
		"another spelling of the URI":       {headers: []string{good.String()}, uri: strings.ToLower(uri), code: "M_UNAUTHORIZED"},
		"another path":                      {headers: []string{good.String()}, uri: "/_matrix/federation/v1/send/2", code: "M_UNAUTHORIZED"},
		"another method":                    {headers: []string{sign("POST", uri, "origin.test", "here.test", body)}, code: "M_UNAUTHORIZED"},
		"another origin":                    {headers: []string{with(func(h *xmatrix.Header) { h.Origin = "other.test" })}, code: "M_UNAUTHORIZED"},
		"for another server":                {headers: []string{sign("PUT", uri, "origin.test", "there.test", body)}, code: "M_UNAUTHORIZED"},
		"for another server, hidden":        {headers: []string{strings.Replace(sign("PUT", uri, "origin.test", "there.test", body), `destination="there.test",`, "", 1)}, code: "M_UNAUTHORIZED"},
		"no server name":                    {headers: []string{with(func(h *xmatrix.Header) { h.Origin = "a/b" })}, code: "M_UNAUTHORIZED"},
		"an unknown key":                    {headers: []string{with(func(h *xmatrix.Header) { h.Key = "ed25519:other" })}, code: "M_UNAUTHORIZED"},
		"another key than it says":          {headers: []string{with(func(h *xmatrix.Header) { h.Key = second.ID })}, code: "M_UNAUTHORIZED"},
		"an expired key":                    {headers: []string{signature(t, expired, "PUT", uri, "origin.test", "here.test", body).String()}, code: "M_UNAUTHORIZED"},
		"one of two signatures is wrong":    {headers: []string{good.String(), with(func(h *xmatrix.Header) { h.Key = second.ID })}, code: "M_UNAUTHORIZED"},
		"by several servers":                {headers: []string{good.String(), sign("PUT", uri, "other.test", "here.test", body)}, code: "M_UNAUTHORIZED"},
		"too many signatures":               {headers: []string{good.String(), good.String(), good.String(), good.String(), good.String()}, code: "M_UNAUTHORIZED"},
		"a header that is none":             {headers: []string{"X-Matrix origin"}, code: "M_UNAUTHORIZED"},
		"a signature that is none":          {headers: []string{with(func(h *xmatrix.Header) { h.Signature = "????" })}, code: "M_UNAUTHORIZED"},
		"no JSON":                           {headers: []string{good.String()}, body: `{"b":`, code: "M_NOT_JSON"},
		"JSON that is read in two ways":     {headers: []string{good.String()}, body: `{"b":1.5,"b":2,"a":[]}`, code: "M_NOT_JSON"},
		"keys cannot be looked up just now": {headers: []string{sign("PUT", uri, "broken.test", "here.test", body)}, code: "M_UNKNOWN"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sent, target := body, uri
			if c.body != "" {
				sent = c.body
			}
			if c.uri != "" {
				target = c.uri
			}
			r := httptest.NewRequest(http.MethodPut, uri, strings.NewReader(sent))
			r.RequestURI = target
			for _, h := range c.headers {
				r.Header.Add("Authorization", h)
			}
			a := &httpfederation.Authenticator{ServerName: "here.test", Keys: known{}, Now: func() time.Time { return now }}
			origin, err := a.AuthenticateServer(t.Context(), r, []byte(sent))
			if c.code == "" && (err != nil || origin != "origin.test") {
				t.Errorf("%s %v", origin, err)
			}
			if c.code != "" && (err == nil || mxerr.From(err).Code != c.code) {
				t.Errorf("%s %v, want %s", origin, err, c.code)
			}
		})
	}
}

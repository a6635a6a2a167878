// Package api is the frame of every HTTP API of the server: routing on the escaped path, CORS, limits, strict JSON,
// authentication, errors as the specification writes them, metrics and traces. What an endpoint does is a Handler;
// it gets a Request that is checked and gives an answer or an *mxerr.Error.
package api

import (
	"net/http"
	"strings"
)

// Part is a set of endpoints that a listener serves or does not.
type Part string

// The parts, as the configuration names them.
const (
	Client     Part = "client"
	Federation Part = "federation"
	Media      Part = "media"
	Admin      Part = "admin"
	Metrics    Part = "metrics"
)

// Auth says who may call an endpoint.
type Auth int

const (
	// Public endpoints look at no token, so that a stale one does no harm.
	Public Auth = iota
	// Optional endpoints take a token or none; a wrong one is refused.
	Optional
	// User endpoints need the access token of a user.
	User
	// Appservice endpoints need the token of an application service.
	Appservice
	// Signed endpoints need the signature of a remote server (server-server API, "Request Authentication").
	Signed
	// Admins endpoints need the access token of a server administrator.
	Admins
)

// Handler answers a request. The answer is one of
//
//   - nil, for the empty JSON object,
//   - a value that is marshalled as JSON (nil slices and maps become [] and {}),
//   - a jsontext.Value, which is JSON already,
//   - an Answer, for another status or further headers,
//   - a Stream, which writes the response itself.
//
// An error that is no *mxerr.Error is logged and becomes 500 M_UNKNOWN.
type Handler func(*Request) (any, error)

// Answer is an answer with a status or headers of its own.
type Answer struct {
	Status int // 0 is 200
	Header http.Header
	Body   any // as of Handler, but no Answer or Stream
}

// Stream writes a response that is no JSON. It returns an error only before it has written anything.
type Stream func(w http.ResponseWriter, r *http.Request) error

// DefaultMaxBody bounds the body of a request: the largest event (64 KiB) in a client's spelling, which may escape
// what canonical JSON does not.
const DefaultMaxBody = 256 << 10

// Endpoint is one operation of an API.
type Endpoint struct {
	Methods []string
	// Path is the template of the escaped path, such as /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}.
	// A variable is one segment that is not empty.
	Path string
	// Also lists further templates of the same operation, such as unstable spellings.
	Also []string
	// R0 serves the /_matrix/client/v3/ paths below /_matrix/client/r0/ too.
	R0 bool

	Auth  Auth
	Limit Limit // the kind of action whose rate is limited; empty is no limit
	// MaxBody bounds the request's body in bytes; 0 is that of the Options.
	MaxBody int64

	// WhileSuspended lets suspended users call an endpoint that is not GET (client-server API, "Account suspension").
	WhileSuspended bool
	// WhileLocked lets locked users call it (client-server API, "Account locking").
	WhileLocked bool

	Handler Handler
}

// templates lists every path of the endpoint.
func (e *Endpoint) templates() []string {
	const v3, r0 = "/_matrix/client/v3/", "/_matrix/client/r0/"
	if e.R0 && !strings.HasPrefix(e.Path, v3) {
		panic("api: R0 is for paths below " + v3 + ", not " + e.Path)
	}
	t := append([]string{e.Path}, e.Also...)
	for _, path := range t {
		if rest, ok := strings.CutPrefix(path, v3); ok && e.R0 {
			t = append(t, r0+rest)
		}
	}
	return t
}

// mutates reports whether the endpoint is refused to suspended users.
func (e *Endpoint) mutates(method string) bool {
	return method != http.MethodGet && method != http.MethodHead && !e.WhileSuspended
}

// Package federation says what actors need of the network between homeservers: to ask another server something, and to
// know the keys with which servers sign. http/outbound asks; what stands here is what both sides agree on.
package federation

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Request is one request to another homeserver, which is signed with our key (server-server API, "Request Authentication").
type Request struct {
	Destination string // its server name
	Method      string
	URI         string         // the escaped path and query, beginning with /_matrix/
	Body        jsontext.Value // nil: none
	// Limit bounds the answer in bytes; 0 is DefaultLimit.
	Limit int64
	// Timeout bounds the whole request, with the reading of its answer; 0 is DefaultTimeout.
	Timeout time.Duration
	// Eager asks a server even while it is being left alone after failures. Requests that somebody waits for are eager.
	Eager bool
}

// What a Request is bounded by when it says nothing.
const (
	DefaultLimit   = int64(10 << 20)
	DefaultTimeout = 30 * time.Second
)

// Caller asks other homeservers. It is safe for concurrent use.
type Caller interface {
	// Call gives the JSON of a 2xx answer. A server that answers anything else is an *Error; one that cannot be found or
	// reached, whose certificate is wrong, or that answers no JSON or too much, is an error that IsUnreachable knows.
	Call(ctx context.Context, r Request) (jsontext.Value, error)
	// Open is Call for an answer that is read as it comes, of a type that the caller checks. The caller closes it. Limit holds; Timeout
	// holds up to the headers, and then for every pause between bytes.
	Open(ctx context.Context, r Request) (body io.ReadCloser, contentType string, err error)
}

// Keys knows the keys of servers. It is safe for concurrent use.
type Keys interface {
	// Key gives the key of a server with this id (such as ed25519:a) if it was good at the time (ms since 1970): from room version 5 a
	// signature counts only while its key was valid (room versions, "Signing key validity period"). at 0 takes a key whenever it was good.
	// It asks the server, and notaries, when it must; ErrNoKey when nobody has it.
	Key(ctx context.Context, server, keyID string, at int64) (ed25519.PublicKey, error)
}

// ErrNoKey says that no server gives the key, or that it was not valid at the time; test with errors.Is.
var ErrNoKey = errors.New("federation: the key is not known, or was not valid then")

// ErrKeyUnavailable is ErrNoKey for now: the server whose key it is does not answer, or is not asked again yet. Test with errors.Is, for both.
var ErrKeyUnavailable = fmt.Errorf("%w: its server cannot be asked for now", ErrNoKey)

// Error is an answer with which another homeserver refuses.
type Error struct {
	Destination string
	Status      int    // of HTTP
	Code        string // errcode, "" when there was none
	Message     string
	Body        jsontext.Value // the whole answer when it is JSON, at most 64 KiB
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s answers %d %s: %s", e.Destination, e.Status, e.Code, e.Message)
}

// unreachable marks errors after which another server may be asked instead, or the same one later.
type unreachable struct{ error }

func (u unreachable) Unwrap() error { return u.error }

// Unreachable marks the error as one of a server that did not answer as a homeserver does.
func Unreachable(err error) error { return unreachable{err} }

// IsUnreachable reports whether the server gave no answer that counts.
func IsUnreachable(err error) bool {
	var u unreachable
	return errors.As(err, &u)
}

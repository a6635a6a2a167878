package federation

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/actors/federation"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/signing"
	"github.com/matrixon/matrixon/matrix/xmatrix"
)

// Authenticator checks which server has signed a request (api.FederationAuthenticator; server-server API, "Request Authentication").
type Authenticator struct {
	ServerName string
	Keys       federation.Keys
	Heard      func(server string) // nil, or told which server asks, before its keys are wanted
	Now        func() time.Time
}

const (
	// mostHeaders is how many signatures of one request are looked at.
	mostHeaders = 4
	// keyPatience bounds the wait for the key of a server that asks.
	keyPatience = 20 * time.Second
)

func unauthorized(format string, args ...any) error {
	return mxerr.New(http.StatusUnauthorized, "M_UNAUTHORIZED", format, args...)
}

// AuthenticateServer gives the name of the server that has signed the request. It takes the URI as it was sent, for every other spelling
// of it has another signature.
func (a *Authenticator) AuthenticateServer(ctx context.Context, r *http.Request, body []byte) (string, error) {
	headers, err := a.headers(r)
	if err != nil {
		return "", err
	}
	if len(body) == 0 {
		body = nil
	} else if !jsontext.Value(body).IsValid() {
		return "", mxerr.NotJSON("the request's body is not valid JSON")
	}
	origin := headers[0].Origin
	signed, err := xmatrix.Signed(r.Method, target(r), origin, a.ServerName, body)
	if err != nil {
		return "", mxerr.BadJSON("the request's body: %v", err)
	}
	ctx, cancel := context.WithTimeout(ctx, keyPatience)
	defer cancel()
	if a.Heard != nil {
		a.Heard(origin)
	}
	known := false
	for _, h := range headers {
		key, err := a.Keys.Key(ctx, origin, h.Key, a.Now().UnixMilli())
		switch {
		case errors.Is(err, federation.ErrNoKey), errors.Is(err, context.DeadlineExceeded):
			continue
		case err != nil:
			return "", err
		}
		if signing.Verify(signed, h.Signature, key) != nil {
			return "", unauthorized("the signature of the request by %.100s of %.255s is wrong", h.Key, origin)
		}
		known = true
	}
	if !known {
		return "", unauthorized("no key of %.255s is known that has signed the request and is valid now", origin)
	}
	return origin, nil
}

// headers reads the Authorization headers, of which there is one for each key. All must be of one origin, and for this server.
func (a *Authenticator) headers(r *http.Request) ([]xmatrix.Header, error) {
	var headers []xmatrix.Header
	for _, value := range r.Header.Values("Authorization") {
		h, err := xmatrix.Parse(value)
		switch {
		case errors.Is(err, xmatrix.ErrScheme):
			continue
		case err != nil:
			return nil, unauthorized("%v", err)
		case !id.ValidServerName(h.Origin):
			return nil, unauthorized("%.255q is no server name", h.Origin)
		case h.Destination != "" && h.Destination != a.ServerName:
			return nil, unauthorized("the request is for %.255q; this is %s", h.Destination, a.ServerName)
		case len(headers) > 0 && h.Origin != headers[0].Origin:
			return nil, unauthorized("the request is signed by several servers")
		case len(headers) == mostHeaders:
			return nil, unauthorized("the request has more than %d signatures", mostHeaders)
		}
		headers = append(headers, h)
	}
	if len(headers) == 0 {
		return nil, unauthorized("this needs the signature of a homeserver, in the header: Authorization: X-Matrix …")
	}
	return headers, nil
}

// target is the path and query as they were sent.
func target(r *http.Request) string {
	uri := r.RequestURI
	if !strings.HasPrefix(uri, "/") { // the absolute form, which proxies use
		if _, rest, ok := strings.Cut(uri, "://"); ok {
			if slash := strings.IndexByte(rest, '/'); slash >= 0 {
				return rest[slash:]
			}
		}
	}
	return uri
}

package appservice

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/http/outbound"
	"github.com/matrixon/matrixon/matrix/appservice"
)

const (
	// linkTimeout bounds one request to an application service, which may do much before it answers a transaction.
	linkTimeout = 60 * time.Second
	// maxAnswer bounds what is read of an answer, in bytes.
	maxAnswer = 1 << 20
)

const base = "/_matrix/app/v1"

// Link speaks to application services.
type Link struct{ client *http.Client }

// NewLink makes a link. Where an application service is, the operator says, so it may be in a private network.
func NewLink(version string) *Link {
	anywhere := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	return &Link{client: outbound.Client(outbound.Policy{AllowNetworks: anywhere, Timeout: linkTimeout, HeaderTimeout: linkTimeout, UserAgent: "Matrixon/" + version})}
}

// Close gives up the connections that nobody uses.
func (l *Link) Close() { l.client.CloseIdleConnections() }

// Call is a request to an application service.
type Call struct {
	Method string
	Path   string // below /_matrix/app/v1
	ID     string // what follows the path, unescaped
	// Legacy is the path of the same in drafts of the specification, tried when the application service does not know the other;
	// empty: there is none.
	Legacy string
	Query  url.Values
	Body   []byte // JSON
}

// Answer is what came back.
type Answer struct {
	Status int
	Body   []byte
}

// ErrNoURL says that the application service wants no requests.
var ErrNoURL = errors.New("the application service has no URL")

// Do sends the request. Whatever status comes back, there is no error. Tokens are never part of an error.
func (l *Link) Do(ctx context.Context, r *appservice.Registration, c Call) (Answer, error) {
	if r.URL == "" {
		return Answer{}, ErrNoURL
	}
	answer, err := l.once(ctx, r, base+c.Path, c)
	if err == nil && c.Legacy != "" && answer.unknown() {
		// A failure there says less than that of the path which the application service should have.
		if old, err := l.once(ctx, r, c.Legacy, c); err == nil && old.Status/100 == 2 {
			return old, nil
		}
	}
	return answer, err
}

// unknown reports whether the application service seems not to know the path (application service API, "Legacy routes"). One that answers
// with an error of Matrix knows it.
func (a Answer) unknown() bool {
	if a.Status < http.StatusMultipleChoices {
		return false
	}
	code := gjson.GetBytes(a.Body, "errcode").Str
	return code == "" || code == "M_UNRECOGNIZED"
}

func (l *Link) once(ctx context.Context, r *appservice.Registration, path string, c Call) (Answer, error) {
	address := r.URL + path + url.PathEscape(c.ID)
	if len(c.Query) > 0 {
		address += "?" + c.Query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, c.Method, address, bytes.NewReader(c.Body))
	if err != nil {
		return Answer{}, err
	}
	request.Header.Set("Authorization", "Bearer "+r.HSToken.Reveal())
	if c.Body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := l.client.Do(request)
	if err != nil {
		return Answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return Answer{}, fmt.Errorf("the answer of %s: %w", r.ID, err)
	}
	return Answer{Status: response.StatusCode, Body: body}, nil
}

package api

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/matrixon/matrixon/matrix/mxerr"
)

// Request is a request that has been admitted: its caller is known, its path understood.
type Request struct {
	HTTP *http.Request
	Ctx  context.Context
	// Vars are the path's variables, unescaped; valid UTF-8 without NUL.
	Vars map[string]string
	// Session is who asks; nil when no token was given.
	Session *Session
	// Origin is the remote server that signed the request, for Signed endpoints.
	Origin string
	// Now is when the request came.
	Now time.Time

	api      *API
	endpoint *Endpoint
	writer   http.ResponseWriter
	control  *http.ResponseController
	query    url.Values
	body     []byte
	bodyRead bool
}

// User is the id of the user who asks, empty without a session.
func (r *Request) User() string {
	if r.Session == nil {
		return ""
	}
	return r.Session.UserID
}

// Device is the id of the device that asks, empty without one.
func (r *Request) Device() string {
	if r.Session == nil {
		return ""
	}
	return r.Session.DeviceID
}

// Method is the request's method.
func (r *Request) Method() string { return r.HTTP.Method }

// Self refuses with 403 M_FORBIDDEN unless the path's variable names the user who asks.
func (r *Request) Self(variable string) error {
	if r.Vars[variable] != r.User() {
		return mxerr.Forbidden("you can only do this for yourself, %s", r.User())
	}
	return nil
}

// Recheck refuses when the caller may not use the endpoint any more, for what goes on for long after it was admitted.
func (r *Request) Recheck() error { return r.api.authenticate(r) }

// OnDrain calls f when the server begins to shut down, unless stopped before.
func (r *Request) OnDrain(f func()) (stop func() bool) { return context.AfterFunc(r.api.draining, f) }

// IP is the address of the client as far as it can be known.
func (r *Request) IP() string { return clientIP(r.HTTP, r.api.options.TrustedProxies) }

func clientIP(r *http.Request, trusted []netip.Prefix) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	addr, err := netip.ParseAddr(host)
	if err != nil || !trusts(trusted, addr) {
		return host
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		next, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			break
		}
		if addr = next.Unmap(); !trusts(trusted, addr) {
			break
		}
	}
	return addr.String()
}

func trusts(trusted []netip.Prefix, addr netip.Addr) bool {
	return slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(addr.Unmap()) })
}

// Query gives the parameters of the query.
func (r *Request) Query() url.Values {
	if r.query == nil {
		r.query = r.HTTP.URL.Query()
	}
	return r.query
}

// Param gives a query parameter, empty when it is missing. Text that is not valid UTF-8, or has a NUL, counts as missing.
func (r *Request) Param(name string) string {
	if v := r.Query().Get(name); validText(v) {
		return v
	}
	return ""
}

// Need gives a query parameter that must be there, else 400 M_MISSING_PARAM.
func (r *Request) Need(name string) (string, error) {
	v := r.Param(name)
	if v == "" {
		return "", mxerr.MissingParam("the query parameter %q is required", name)
	}
	return v, nil
}

// Int gives an integer parameter that is clamped to at most highest; below lowest it is refused with 400 M_INVALID_PARAM.
func (r *Request) Int(name string, missing, lowest, highest int64) (int64, error) {
	v := r.Query().Get(name)
	if v == "" {
		return missing, nil
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < lowest {
		return 0, mxerr.InvalidParam("the query parameter %q must be an integer not below %d", name, lowest)
	}
	return min(n, highest), nil
}

// Bool gives a boolean parameter: true or false, else 400 M_INVALID_PARAM.
func (r *Request) Bool(name string, missing bool) (bool, error) {
	switch r.Query().Get(name) {
	case "":
		return missing, nil
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, mxerr.InvalidParam("the query parameter %q must be true or false", name)
}

// Enum gives a parameter that has one of a few values, else 400 M_INVALID_PARAM.
func (r *Request) Enum(name, missing string, allowed ...string) (string, error) {
	v := r.Query().Get(name)
	if v == "" {
		return missing, nil
	}
	if !slices.Contains(allowed, v) {
		return "", mxerr.InvalidParam("the query parameter %q must be one of %s", name, strings.Join(allowed, ", "))
	}
	return v, nil
}

// Take counts one action of this kind against the user who asks, or else the address; 429 M_LIMIT_EXCEEDED beyond its rate.
func (r *Request) Take(kind Limit) error { return r.TakeMany(kind, 1) }

// TakeMany is Take of n actions; with 0 it refuses when none is left, but counts nothing.
func (r *Request) TakeMany(kind Limit, n int) error {
	switch {
	case r.Session != nil && r.Session.Unlimited:
		return nil
	case r.Session != nil:
		return r.limit(kind, r.Session.UserID, n)
	case r.Origin != "":
		return r.limit(kind, r.Origin, n)
	}
	return r.limit(kind, r.IP(), n)
}

// TakeFor is Take on behalf of something else than who asks, such as the account that a login is about.
func (r *Request) TakeFor(kind Limit, key string) error {
	return r.limit(kind, key, 1)
}

func validText(s string) bool { return utf8.ValidString(s) && !strings.Contains(s, "\x00") }

// printable cuts what a stranger wrote to what fits in a sentence.
func printable(s string) string {
	if len(s) > 64 {
		s = s[:64] + "…"
	}
	return strconv.QuoteToASCII(s)
}

// Exhausted refuses like TakeFor but counts nothing, for actions of which only the failures are counted.
func (r *Request) Exhausted(kind Limit, key string) error {
	return r.limit(kind, key, 0)
}

func (r *Request) limit(kind Limit, key string, n int) error {
	if r.api.options.Limits == nil {
		return nil
	}
	return r.api.options.Limits.Take(r.Ctx, kind, key, n)
}

package outbound

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/matrixon/matrixon/matrix/id"
)

// The bounds of a request for .well-known, and how long its answer is believed (server-server API, "Resolving server names").
const (
	wellKnownTimeout   = 15 * time.Second
	wellKnownRedirects = 5
	wellKnownSize      = 64 << 10

	wellKnownDefault  = 24 * time.Hour
	wellKnownLongest  = 48 * time.Hour
	wellKnownShortest = 5 * time.Minute // whatever a server asks for
	// A failure is believed for a minute, each further one twice as long, up to an hour.
	failureShortest = time.Minute
	failureLongest  = time.Hour
)

// delegation is what is known of the .well-known of a host.
type delegation struct {
	server  string // empty: it delegates to none
	until   time.Time
	fetched time.Time // when the server said so
	failed  int       // attempts since
}

// delegated gives the name of the server to which a host delegates, empty if to none. Requests at the same time share one fetch, which
// goes on though some of them are given up.
func (d *discovery) delegated(ctx context.Context, host string) (string, error) {
	known, ok := d.delegations.Get(host)
	if ok && d.now().Before(known.until) {
		return known.server, nil
	}
	fetched := d.flight.DoChan(host, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), wellKnownTimeout)
		defer cancel()
		server, lifetime, err := d.fetchDelegation(ctx, host)
		next := d.learn(known, server, lifetime, err)
		d.delegations.Set(host, next)
		return next.server, nil
	})
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case r := <-fetched:
		server, _ := r.Val.(string)
		return server, r.Err
	}
}

// learn is what is believed after an attempt. While a host gives no answer, what it said before holds on for as long as any answer may.
func (d *discovery) learn(known delegation, server string, lifetime time.Duration, err error) delegation {
	now := d.now()
	if err == nil {
		return delegation{server: server, fetched: now, until: now.Add(lifetime)}
	}
	next := delegation{failed: known.failed + 1, until: now.Add(backOff(known.failed, failureShortest, failureLongest))}
	var answered *answeredError
	if !errors.As(err, &answered) && now.Before(known.fetched.Add(wellKnownLongest)) {
		next.server, next.fetched = known.server, known.fetched
	}
	return next
}

// backOff doubles with every failure.
func backOff(failures int, shortest, longest time.Duration) time.Duration {
	wait := shortest
	for range min(failures, 32) {
		if wait *= 2; wait >= longest {
			return longest
		}
	}
	return wait
}

// answeredError says that a host answered, and delegates to none.
type answeredError struct{ reason string }

func (e *answeredError) Error() string { return "well-known: " + e.reason }

func (d *discovery) fetchDelegation(ctx context.Context, host string) (string, time.Duration, error) {
	at := host
	if d.webPort != httpsPort {
		at = net.JoinHostPort(host, strconv.Itoa(d.webPort))
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+at+"/.well-known/matrix/server", nil)
	if err != nil {
		return "", 0, err
	}
	resp, err := d.web.Do(r)
	if err != nil {
		return "", 0, err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests:
		return "", 0, fmt.Errorf("well-known: %s", resp.Status)
	case resp.StatusCode != http.StatusOK:
		return "", 0, &answeredError{resp.Status}
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, wellKnownSize+1))
	if err != nil {
		return "", 0, err
	}
	if len(raw) > wellKnownSize {
		return "", 0, &answeredError{"it is too large"}
	}
	var body struct {
		Server string `json:"m.server"`
	}
	if err := json.Unmarshal(raw, &body); err != nil {
		return "", 0, &answeredError{err.Error()}
	}
	if !id.ValidServerName(body.Server) {
		return "", 0, &answeredError{"m.server is no server name"}
	}
	return body.Server, lifetime(resp.Header, d.now()), nil
}

// lifetime is how long an answer may be kept, by its Cache-Control or Expires.
func lifetime(h http.Header, now time.Time) time.Duration {
	for directive := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(directive)), "=")
		switch name {
		case "no-store", "no-cache":
			return wellKnownShortest
		case "max-age":
			seconds, err := strconv.ParseInt(strings.Trim(value, `"`), 10, 32)
			if err == nil {
				return clamp(time.Duration(seconds) * time.Second)
			}
		}
	}
	if expires := h.Get("Expires"); expires != "" {
		at, err := http.ParseTime(expires)
		if err != nil { // such as 0: it has expired
			return wellKnownShortest
		}
		return clamp(at.Sub(now))
	}
	return wellKnownDefault
}

func clamp(d time.Duration) time.Duration { return min(max(d, wellKnownShortest), wellKnownLongest) }

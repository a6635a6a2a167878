package preview

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/matrixon/matrixon/http/outbound"
)

// The errors; test with errors.Is.
var (
	// ErrURL says that an address is none that can have a preview.
	ErrURL = errors.New("preview: this is no address of a web page")
	// ErrFetch says that the page could not be had.
	ErrFetch = errors.New("preview: the page could not be fetched")
)

const (
	maxURL = 4096 // bytes
	// askTimeout bounds one request with all its redirects; pageTimeout all that one preview takes.
	askTimeout  = 12 * time.Second
	pageTimeout = 30 * time.Second
	redirects   = 5
)

// Fetcher fetches pages and pictures.
type Fetcher struct{ client *http.Client }

// NewFetcher makes a fetcher that reaches public addresses, and those of the policy.
func NewFetcher(p outbound.Policy) *Fetcher {
	p.Redirects, p.Timeout = redirects, askTimeout
	return &Fetcher{outbound.Client(p)}
}

// Close gives the connections back.
func (f *Fetcher) Close() { f.client.CloseIdleConnections() }

// Preview is what is known about an address.
type Preview struct {
	OpenGraph map[string]string
	// Picture is where the picture of the page is, nil when it has none.
	Picture *url.URL
}

// CheckURL reads an address that a client has sent, without its fragment, which stays with the client.
func CheckURL(s string) (*url.URL, error) {
	if len(s) > maxURL {
		return nil, fmt.Errorf("%w: it is longer than %d bytes", ErrURL, maxURL)
	}
	u, err := url.Parse(strings.TrimSpace(s))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Opaque != "" {
		return nil, ErrURL
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

// Preview looks at a page.
func (f *Fetcher) Preview(ctx context.Context, at *url.URL) (*Preview, error) {
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	resp, err := f.get(ctx, at, "text/html,application/xhtml+xml;q=0.9,*/*;q=0.5")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	here := resp.Request.URL // after the redirects
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch {
	case strings.HasPrefix(kind, "image/"):
		return &Preview{OpenGraph: map[string]string{}, Picture: here}, nil
	case kind != "text/html" && kind != "application/xhtml+xml":
		return &Preview{OpenGraph: map[string]string{}}, nil
	}
	p, err := parse(resp.Body, resp.Header.Get("Content-Type"), here)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFetch, err)
	}
	if more := resolve(p.base, p.oEmbed); more != nil {
		if o, err := f.oEmbed(ctx, more); err == nil { // what the page says itself is good without it
			p.join(o)
		}
	}
	return &Preview{OpenGraph: p.openGraph(), Picture: p.picture()}, nil
}

func (f *Fetcher) oEmbed(ctx context.Context, at *url.URL) (*oEmbed, error) {
	resp, err := f.get(ctx, at, "application/json")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return parseOEmbed(resp.Body)
}

// Picture begins to fetch a picture. The reader must be closed.
func (f *Fetcher) Picture(ctx context.Context, at *url.URL) (io.ReadCloser, error) {
	resp, err := f.get(ctx, at, "image/*")
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

func (f *Fetcher) get(ctx context.Context, at *url.URL, accept string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrURL, err)
	}
	if err := outbound.CheckURL(r); err != nil {
		return nil, err
	}
	r.Header.Set("Accept", accept)
	resp, err := f.client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFetch, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("%w: %s", ErrFetch, resp.Status), resp.Body.Close())
	}
	return resp, nil
}

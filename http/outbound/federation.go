package outbound

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"github.com/matrixon/matrixon/actors/federation"
	"github.com/matrixon/matrixon/matrix/signing"
	"github.com/matrixon/matrixon/matrix/xmatrix"
	"github.com/matrixon/matrixon/persistence/cache"
)

// FederationOptions are what asking other homeservers needs.
type FederationOptions struct {
	ServerName string
	Key        signing.Key
	// Policy says whom to trust and which networks to reach; its Redirects, Timeout and Secure do not count.
	Policy Policy
	// Timeout bounds that of every request; 0: nothing further does.
	Timeout time.Duration
	Now     func() time.Time
	Metrics prometheus.Registerer // nil: nothing is measured
	// HTTPSPort and FederationPort are those of names without a port; 0: 443 and 8448.
	HTTPSPort, FederationPort int
}

// Federation asks other homeservers (federation.Caller). It is safe for concurrent use.
type Federation struct {
	o         FederationOptions
	discovery *discovery
	dialer    *net.Dialer
	client    *http.Client
	running   *semaphore.Weighted
	resting   *cache.Cache[string, rest]
	duration  *prometheus.HistogramVec
}

// The bounds of what goes on with other servers at once.
const (
	requestsAtOnce = 1024
	connsPerServer = 16
	idlePerServer  = 4
	idleInAll      = 512
	// establish bounds finding a server and the making of one connection, through all its places.
	establish = 30 * time.Second
	refusal   = 64 << 10 // bytes of an answer that refuses
)

// After a failure a server is left alone by requests for which nobody waits.
const (
	restShortest = 10 * time.Second
	restLongest  = time.Hour
)

// rest is a server that does not answer.
type rest struct {
	failed int
	until  time.Time
}

// ErrResting says that a server that did not answer is not asked again yet; test with errors.Is.
var ErrResting = errors.New("it did not answer, and is left alone for a while")

// NewFederation makes the client. Close gives its connections back.
func NewFederation(o FederationOptions) *Federation {
	if o.HTTPSPort == 0 {
		o.HTTPSPort = httpsPort
	}
	if o.FederationPort == 0 {
		o.FederationPort = federationPort
	}
	f := &Federation{o: o, discovery: newDiscovery(o.Policy, o.HTTPSPort, o.FederationPort, o.Now), dialer: o.Policy.dialer(),
		running: semaphore.NewWeighted(requestsAtOnce), resting: cache.New(cache.Options[string, rest]{Size: discovered})}
	transport := &http.Transport{
		DialTLSContext: f.dial, ForceAttemptHTTP2: true, MaxConnsPerHost: connsPerServer, MaxIdleConnsPerHost: idlePerServer,
		MaxIdleConns: idleInAll, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: maxHeader,
	}
	f.client = &http.Client{Transport: &named{transport, o.Policy.UserAgent}, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // a signature is for one request only
	}}
	f.duration = prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "matrixon_federation_request_seconds",
		Help: "Time until other homeservers answered, by what came of it.", Buckets: []float64{.01, .05, .2, 1, 5, 20, 60}}, []string{"outcome"})
	if o.Metrics != nil {
		o.Metrics.MustRegister(f.duration)
	}
	return f
}

// Close gives the connections back.
func (f *Federation) Close() {
	f.client.CloseIdleConnections()
	f.discovery.web.CloseIdleConnections()
}

// Call implements federation.Caller.
func (f *Federation) Call(ctx context.Context, r federation.Request) (jsontext.Value, error) {
	ctx, cancel := context.WithTimeout(ctx, f.timeout(r))
	defer cancel()
	body, err := f.ask(ctx, r)
	if err != nil {
		return nil, err
	}
	defer body.Close() //nolint:errcheck // it was only read
	raw, err := io.ReadAll(body)
	if err == nil && !jsontext.Value(raw).IsValid() {
		err = errors.New("the answer is no JSON")
	}
	if err != nil {
		return nil, federation.Unreachable(fmt.Errorf("%s: %w", r.Destination, err))
	}
	return raw, nil
}

// Open implements federation.Caller.
func (f *Federation) Open(ctx context.Context, r federation.Request) (io.ReadCloser, string, error) {
	timeout := f.timeout(r)
	ctx, cancel := context.WithCancel(ctx)
	timer := time.AfterFunc(timeout, cancel)
	body, err := f.ask(ctx, r)
	if err != nil {
		timer.Stop()
		cancel()
		return nil, "", err
	}
	body.pause, body.timer, body.cancel = timeout, timer, cancel
	return body, body.contentType, nil
}

func (f *Federation) timeout(r federation.Request) time.Duration {
	timeout := r.Timeout
	if timeout == 0 {
		timeout = federation.DefaultTimeout
	}
	if f.o.Timeout > 0 {
		timeout = min(timeout, f.o.Timeout)
	}
	return timeout
}

// ask sends the request and gives a body that ends at the limit, of a 2xx answer only.
func (f *Federation) ask(ctx context.Context, r federation.Request) (*answer, error) {
	if err := f.awake(r); err != nil {
		return nil, err
	}
	request, err := f.request(ctx, r)
	if err != nil {
		return nil, err
	}
	if err := f.running.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	begun := f.o.Now()
	resp, err := f.send(ctx, request, r.Destination)
	outcome := "answered"
	switch {
	case err != nil:
		outcome = "unreachable"
	case resp.StatusCode/100 != 2:
		outcome = "refused"
	}
	f.duration.WithLabelValues(outcome).Observe(f.o.Now().Sub(begun).Seconds())
	if err == nil && outcome == "refused" {
		err = refused(r.Destination, resp)
	}
	if err != nil {
		f.running.Release(1)
		return nil, err
	}
	if r.Limit == 0 {
		r.Limit = federation.DefaultLimit
	}
	return &answer{ReadCloser: resp.Body, left: r.Limit, done: func() { f.running.Release(1) }, contentType: resp.Header.Get("Content-Type")}, nil
}

// awake refuses a request that need not be now, to a server that does not answer.
func (f *Federation) awake(r federation.Request) error {
	if r.Destination == f.o.ServerName {
		return fmt.Errorf("federation: %s is this server", r.Destination)
	}
	if rest, ok := f.resting.Get(r.Destination); ok && !r.Eager && f.o.Now().Before(rest.until) {
		return federation.Unreachable(fmt.Errorf("%s: %w", r.Destination, ErrResting))
	}
	return nil
}

// request builds the request as it is signed. Its host is the key of the pool of connections: the server's name, with port 0, which no name
// has, when it names none, so that it is discovered when a connection is made.
func (f *Federation) request(ctx context.Context, r federation.Request) (*http.Request, error) {
	target, err := f.discovery.find(ctx, r.Destination)
	if err != nil {
		return nil, f.failed(ctx, r.Destination, err)
	}
	signed, err := xmatrix.Signed(r.Method, r.URI, f.o.ServerName, r.Destination, r.Body)
	if err != nil {
		return nil, fmt.Errorf("federation: sign a request: %w", err)
	}
	pool := r.Destination
	if _, _, err := net.SplitHostPort(pool); err != nil {
		pool += ":0"
	}
	var body io.Reader
	if r.Body != nil {
		body = bytes.NewReader(r.Body)
	}
	request, err := http.NewRequestWithContext(ctx, r.Method, "https://"+pool+r.URI, body)
	if err != nil {
		return nil, fmt.Errorf("federation: %w", err)
	}
	if request.URL.RequestURI() != r.URI {
		return nil, fmt.Errorf("federation: %q is not sent as it is signed", r.URI)
	}
	request.Host = target.Host
	request.Header.Set("Authorization", xmatrix.Header{Origin: f.o.ServerName, Destination: r.Destination, Key: f.o.Key.ID,
		Signature: signing.Sign(signed, f.o.Key)}.String())
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	return request, nil
}

func (f *Federation) send(ctx context.Context, request *http.Request, destination string) (*http.Response, error) {
	resp, err := f.client.Do(request)
	if err != nil {
		return nil, f.failed(ctx, destination, err)
	}
	f.resting.Delete(destination)
	return resp, nil
}

// failed notes that a server did not answer, unless it was not given the time to.
func (f *Federation) failed(ctx context.Context, destination string, err error) error {
	if !errors.Is(ctx.Err(), context.Canceled) {
		was, _ := f.resting.Get(destination)
		f.resting.Set(destination, rest{was.failed + 1, f.o.Now().Add(backOff(was.failed, restShortest, restLongest))})
	}
	return federation.Unreachable(fmt.Errorf("%s: %w", destination, err))
}

// dial connects to a homeserver and checks who it is.
func (f *Federation) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, establish)
	defer cancel()
	target, err := f.discovery.find(ctx, strings.TrimSuffix(address, ":0"))
	if err != nil {
		return nil, err
	}
	var failures []error
	for _, place := range target.Places {
		conn, err := f.connect(ctx, network, place, target.Name)
		if err == nil {
			return conn, nil
		}
		failures = append(failures, err)
	}
	return nil, errors.Join(failures...)
}

func (f *Federation) connect(ctx context.Context, network string, place Place, name string) (net.Conn, error) {
	raw, err := f.dialer.DialContext(ctx, network, place.String())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn := tls.Client(raw, &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: f.o.Policy.Roots, ServerName: name, NextProtos: []string{"h2", "http/1.1"}})
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	return conn, nil
}

// refused reads why a server refuses.
func refused(destination string, resp *http.Response) error {
	defer resp.Body.Close()
	e := &federation.Error{Destination: destination, Status: resp.StatusCode}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, refusal))
	if err != nil || !jsontext.Value(raw).IsValid() {
		return e
	}
	e.Body = raw
	var told struct {
		Code    jsontext.Value `json:"errcode"`
		Message jsontext.Value `json:"error"`
	}
	if json.Unmarshal(raw, &told) == nil {
		_ = json.Unmarshal(told.Code, &e.Code) // whatever else they are, they are no code and no message
		_ = json.Unmarshal(told.Message, &e.Message)
	}
	return e
}

// answer is a body that is being read.
type answer struct {
	io.ReadCloser
	left        int64
	contentType string
	done        func()
	// With these a pause between bytes is bounded.
	pause  time.Duration
	timer  *time.Timer
	cancel context.CancelFunc
}

// errTooLong says that an answer is longer than the Request's Limit.
var errTooLong = errors.New("the answer is too long")

// Read implements io.Reader.
func (a *answer) Read(p []byte) (int, error) {
	if a.timer != nil {
		a.timer.Reset(a.pause)
	}
	n, err := a.ReadCloser.Read(p)
	if a.left -= int64(n); a.left < 0 {
		return 0, errTooLong
	}
	return n, err
}

// Close implements io.Closer.
func (a *answer) Close() error {
	if a.done == nil {
		return nil
	}
	a.done()
	a.done = nil
	if a.timer != nil {
		a.timer.Stop()
	}
	err := a.ReadCloser.Close()
	if a.cancel != nil {
		a.cancel()
	}
	return err
}

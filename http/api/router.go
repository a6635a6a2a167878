package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/mux"
	"github.com/klauspost/compress/gzhttp"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/matrixon/matrixon/matrix/mxerr"
)

// Options are what the endpoints of a node share. Log is required; what else is missing is off.
type Options struct {
	Auth       Authenticator
	Federation FederationAuthenticator
	Limits     Limiter // nil: nothing is limited
	Seen       SeenRecorder
	Log        *slog.Logger
	Metrics    prometheus.Registerer
	Tracer     trace.Tracer
	Now        func() time.Time
	// MaxBody bounds the bodies of endpoints that set no bound of their own, in bytes; 0 is DefaultMaxBody.
	MaxBody int64
	// TrustedProxies are the networks whose X-Forwarded-For header is believed.
	TrustedProxies []netip.Prefix
	// ServerTiming tells clients how long their requests took, in the Server-Timing header.
	ServerTiming bool
	// BodyTimeout bounds the reading of a small body, and the wait for the next piece of one that streams; 0 is 30 seconds.
	BodyTimeout time.Duration
}

// API holds the endpoints of a node.
type API struct {
	options Options
	parts   map[Part]*table
	observe *observer
	// draining ends when the server begins to shut down.
	draining context.Context
	drain    context.CancelFunc
}

// New makes an API without endpoints.
func New(o Options) *API {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.BodyTimeout == 0 {
		o.BodyTimeout = 30 * time.Second
	}
	a := &API{options: o, parts: map[Part]*table{}, observe: newObserver(o)}
	a.draining, a.drain = context.WithCancel(context.Background())
	return a
}

// Add adds endpoints to a part. It panics on templates that cannot be served: they are written in code.
func (a *API) Add(part Part, endpoints ...Endpoint) {
	t := a.parts[part]
	if t == nil {
		t = &table{groups: map[group]*mux.Router{}}
		a.parts[part] = t
	}
	for i := range endpoints {
		t.add(&endpoints[i])
	}
}

// table finds endpoints by the escaped path. Because mux tries its routes one after the other, routes are kept in
// many small routers, found by the number of the path's segments and by two of them that are rarely variables: those after
// /_matrix/client/v3/ and after /_matrix/client/v3/rooms/{roomId}/.
type table struct {
	groups map[group]*mux.Router
}

type group struct {
	segments      int
	fourth, sixth string // empty when there is none or it is a variable
}

// endpointRoute ties an endpoint to its template, in the place of mux's handler.
type endpointRoute struct {
	endpoint *Endpoint
	template string
}

// ServeHTTP is never called: requests are served by API.serve.
func (endpointRoute) ServeHTTP(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }

func groupOf(path string) group {
	parts := strings.Split(path, "/") // the first is empty: paths begin with a slash
	g := group{segments: len(parts) - 1}
	word := func(i int) string {
		if i >= len(parts) || strings.HasPrefix(parts[i], "{") {
			return ""
		}
		return parts[i]
	}
	g.fourth, g.sixth = word(4), word(6)
	return g
}

func (t *table) add(e *Endpoint) {
	if e.Handler == nil || len(e.Methods) == 0 {
		panic("api: endpoint without methods or handler: " + e.Path)
	}
	methods := slices.Clone(e.Methods)
	if slices.Contains(methods, http.MethodGet) && !slices.Contains(methods, http.MethodHead) {
		methods = append(methods, http.MethodHead)
	}
	for _, template := range e.templates() {
		if strings.Contains(template, ":") {
			panic("api: a variable is exactly one segment: " + template)
		}
		g := groupOf(template)
		r := t.groups[g]
		if r == nil {
			r = mux.NewRouter().UseEncodedPath()
			t.groups[g] = r
		}
		r.Path(template).Methods(methods...).Handler(endpointRoute{e, template})
	}
}

// find gives the route of a request and its variables as they stand in the path, escaped.
func (t *table) find(r *http.Request, path string) (endpointRoute, map[string]string, error) {
	g := groupOf(path)
	var wrongMethod bool
	for i, candidate := range [...]group{g, {g.segments, g.fourth, ""}, {g.segments, "", g.sixth}, {g.segments, "", ""}} {
		router := t.groups[candidate]
		if router == nil || i > 0 && candidate == g {
			continue
		}
		var m mux.RouteMatch
		if router.Match(r, &m) {
			return m.Handler.(endpointRoute), m.Vars, nil
		}
		wrongMethod = wrongMethod || errors.Is(m.MatchErr, mux.ErrMethodMismatch)
	}
	if wrongMethod {
		return endpointRoute{}, nil, mux.ErrMethodMismatch
	}
	return endpointRoute{}, nil, mux.ErrNotFound
}

var probedMethods = [...]string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch}

// allowed lists the methods of a path, for the Allow header.
func (t *table) allowed(r *http.Request, path string) string {
	var methods []string
	probe := *r
	for _, m := range probedMethods {
		probe.Method = m
		if _, _, err := t.find(&probe, path); err == nil {
			methods = append(methods, m)
		}
	}
	return strings.Join(append(methods, http.MethodOptions), ", ")
}

// Handler serves the endpoints of the given parts.
func (a *API) Handler(parts ...Part) http.Handler {
	s := &service{api: a}
	for _, p := range parts {
		if t := a.parts[p]; t != nil {
			s.tables = append(s.tables, t)
		}
	}
	compress, err := gzhttp.NewWrapper(gzhttp.MinSize(1400))
	if err != nil {
		panic(err) // the options are constants
	}
	s.routed = compress(http.HandlerFunc(s.route))
	return s
}

// service is an API on one listener.
type service struct {
	api    *API
	tables []*table
	routed http.Handler
}

// ServeHTTP answers pre-flight requests and hands everything else on, observed. CORS headers are on all answers
// (client-server API, "Web Browser Clients").
func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 {
		// Whatever becomes of the request, its body is read to the end before the answer is sent: here or by net/http. So the
		// deadline stands until the end was seen.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.api.options.BodyTimeout))
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, DELETE, OPTIONS")
	h.Set("Access-Control-Allow-Headers", "X-Requested-With, Content-Type, Authorization, Date, If-Match, If-None-Match")
	if r.Method == http.MethodOptions {
		h.Set("Access-Control-Max-Age", "86400")
		w.WriteHeader(http.StatusNoContent)
		return
	}
	h.Set("Access-Control-Expose-Headers", "Retry-After, ETag, Location, Content-Disposition, Last-Modified, Expires, Server-Timing")
	s.api.observe.serve(w, r, s.routed)
}

// route finds the endpoint and runs it.
func (s *service) route(w http.ResponseWriter, r *http.Request) {
	path := r.URL.EscapedPath()
	wrong := -1
	for i, t := range s.tables {
		route, vars, err := t.find(r, path)
		switch {
		case err == nil:
			s.api.run(w, r, route, vars)
			return
		case errors.Is(err, mux.ErrMethodMismatch):
			wrong = i
		}
	}
	if wrong >= 0 {
		w.Header().Set("Allow", s.tables[wrong].allowed(r, path))
		writeError(w, mxerr.New(http.StatusMethodNotAllowed, "M_UNRECOGNIZED", "this endpoint has no method %s", printable(r.Method)))
		return
	}
	writeError(w, mxerr.Unrecognized("there is no such endpoint on this server"))
}

// unescape turns the variables of a path into what they mean.
func unescape(vars map[string]string) error {
	for name, escaped := range vars {
		v, err := url.PathUnescape(escaped)
		if err != nil || !validText(v) {
			return mxerr.InvalidParam("the path's %s is not valid UTF-8 text", name)
		}
		vars[name] = v
	}
	return nil
}

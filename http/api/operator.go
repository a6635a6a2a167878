package api

import (
	"context"
	"fmt"
	"html/template"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/matrixon/matrixon/matrix/mxerr"
)

// Operator is what the endpoints for operators tell.
type Operator struct {
	ServerName string
	Version    string
	Gatherer   prometheus.Gatherer
	// Ready says why the node cannot serve now, nil when it can.
	Ready func(context.Context) error
}

// AddOperator adds health, readiness and the front page to the parts that people and load balancers reach, and the
// metrics to theirs.
func (a *API) AddOperator(o Operator) {
	for _, part := range []Part{Client, Federation, Media, Admin, Metrics} {
		a.Add(part,
			Endpoint{Methods: []string{http.MethodGet}, Path: "/_matrixon/health", Handler: health},
			Endpoint{Methods: []string{http.MethodGet}, Path: "/_matrixon/ready", Handler: o.ready(a)},
		)
	}
	a.Add(Client, Endpoint{Methods: []string{http.MethodGet}, Path: "/", Handler: o.front})
	if o.Gatherer != nil {
		exposition := promhttp.HandlerFor(o.Gatherer, promhttp.HandlerOpts{DisableCompression: true})
		a.Add(Metrics, Endpoint{Methods: []string{http.MethodGet}, Path: "/metrics", Handler: func(*Request) (any, error) {
			return Stream(func(w http.ResponseWriter, r *http.Request) error {
				exposition.ServeHTTP(w, r)
				return nil
			}), nil
		}})
	}
}

// health says that the process answers.
func health(*Request) (any, error) { return map[string]string{"status": "ok"}, nil }

// ready says whether requests should be sent here.
func (o Operator) ready(a *API) Handler {
	return func(r *Request) (any, error) {
		if a.draining.Err() != nil {
			return nil, mxerr.New(http.StatusServiceUnavailable, "M_UNKNOWN", "the server is shutting down")
		}
		if o.Ready != nil {
			if err := o.Ready(r.Ctx); err != nil {
				return nil, mxerr.New(http.StatusServiceUnavailable, "M_UNKNOWN", "not ready: %v", err)
			}
		}
		return map[string]string{"status": "ready"}, nil
	}
}

// front tells someone who opens the server's address in a browser what this is.
func (o Operator) front(*Request) (any, error) {
	return Stream(func(w http.ResponseWriter, _ *http.Request) error {
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
		if err := frontPage.Execute(w, o); err != nil {
			return fmt.Errorf("front page: %w", err)
		}
		return nil
	}), nil
}

var frontPage = template.Must(template.New("front").Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{{.ServerName}} – Matrixon</title>
<style>
:root { color-scheme: light dark; --back: #f3f4f6; --card: #fff; --text: #1f2937; --pale: #4b5563; --line: #d1d5db; --accent: #0f766e; --code: #eef0f3 }
@media (prefers-color-scheme: dark) { :root { --back: #111827; --card: #1f2937; --text: #f3f4f6; --pale: #9ca3af; --line: #4b5563; --accent: #14b8a6; --code: #111827 } }
body { margin: 0; padding: 6vh 16px; background: var(--back); color: var(--text); font: 16px/1.5 system-ui, sans-serif }
main { max-width: 620px; margin: 0 auto; padding: 32px; background: var(--card); border: 1px solid var(--line); border-radius: 12px }
h1 { margin: 0 0 4px; font-size: 26px; overflow-wrap: anywhere }
h2 { margin: 28px 0 8px; font-size: 18px }
p { margin: 0 0 12px }
.pale, dd { color: var(--pale) }
a { color: var(--accent); overflow-wrap: anywhere }
code { font: 14px ui-monospace, monospace; background: var(--code); border-radius: 4px; padding: 2px 5px }
pre { margin: 0 0 12px; padding: 12px 14px; background: var(--code); border-radius: 8px; overflow-x: auto }
pre code { padding: 0 }
dl { margin: 0 }
dd { margin: 0 0 8px }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; border-radius: 2px }
</style>
</head><body><main>
<h1>{{.ServerName}}</h1>
<p class="pale">This is a Matrix homeserver. It runs Matrixon{{with .Version}} {{.}}{{end}}.</p>
<h2>To chat here</h2>
<p>Open a Matrix client such as Element, choose “sign in”, and give it the address of this page as the homeserver.</p>
<h2>If you run this server</h2>
<p>Make the first account on the machine that runs it:</p>
<pre><code>matrixon user create --admin NAME</code></pre>
<p>Then look at what other servers and clients see:</p>
<dl>
<dt><a href="/_matrix/client/versions">/_matrix/client/versions</a></dt><dd>what clients are offered</dd>
<dt><a href="/.well-known/matrix/client">/.well-known/matrix/client</a></dt><dd>how clients find this address from the server's name</dd>
<dt><a href="/_matrixon/ready">/_matrixon/ready</a>, <a href="/_matrixon/health">/_matrixon/health</a></dt><dd>for load balancers</dd>
</dl>
<p><code>matrixon config check</code> explains what is wrong with a configuration, and <code>matrixon --help</code> lists the other commands.</p>
</main></body></html>
`))

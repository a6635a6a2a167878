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
<title>{{.ServerName}} – Matrixon</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:42rem;margin:3rem auto;padding:0 1rem}code,pre{background:#8882;border-radius:4px;padding:.1em .3em}pre{padding:.8em;overflow:auto}</style>
</head><body>
<h1>Matrixon is running</h1>
<p>This is the Matrix homeserver of <strong>{{.ServerName}}</strong>{{with .Version}}, version {{.}}{{end}}.</p>
<h2>To chat here</h2>
<p>Open a Matrix client such as Element, choose “sign in”, and give it the address of this page as the homeserver.</p>
<h2>If you run this server</h2>
<p>Make the first account on the machine that runs it:</p>
<pre>matrixon user create --admin NAME</pre>
<p>Then check what other servers and clients see:</p>
<ul>
<li><code>/_matrix/client/versions</code> – what clients are offered</li>
<li><code>/.well-known/matrix/client</code> – how clients find this address from the server's name</li>
<li><code>/_matrixon/health</code> and <code>/_matrixon/ready</code> – for load balancers</li>
</ul>
<p>A commented configuration file comes from <code>matrixon config init</code>, and <code>matrixon config check</code> explains what is wrong with one.</p>
</body></html>
`))

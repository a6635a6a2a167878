package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/matrixon/matrixon/matrix/mxerr"
)

// writeTimeout bounds how long one answer may take to be taken by the client.
const writeTimeout = 2 * time.Minute

// run authenticates, limits and executes one request and writes what comes of it.
func (a *API) run(w http.ResponseWriter, hr *http.Request, route endpointRoute, vars map[string]string) {
	e := route.endpoint
	o := observed(hr)
	o.route(route.template)
	r := &Request{
		HTTP: hr, Ctx: hr.Context(), Vars: vars,
		api: a, endpoint: e, writer: w, control: http.NewResponseController(w),
		Now: a.options.Now(),
	}
	answer, err := a.execute(r)
	if r.Session != nil {
		o.user = r.Session.UserID
	}
	_ = r.control.SetWriteDeadline(time.Now().Add(writeTimeout)) // writers without deadlines are those of tests
	if err != nil {
		a.fail(w, r, err)
		return
	}
	if err := write(w, hr, answer); err != nil {
		a.fail(w, r, err)
	}
}

// Responder is an error that has an answer of its own, beyond the standard error response.
type Responder interface {
	error
	Answer() Answer
}

// execute does everything up to the answer. A panic is one failed request, not a failed server.
func (a *API) execute(r *Request) (answer any, err error) {
	defer func() {
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler { //nolint:errorlint // a panic's value, not an error's chain
				panic(p)
			}
			answer, err = nil, fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	if err := unescape(r.Vars); err != nil {
		return nil, err
	}
	if err := a.admit(r); err != nil {
		return nil, err
	}
	return r.endpoint.Handler(r)
}

// admit decides whether the caller may use the endpoint now.
func (a *API) admit(r *Request) error {
	if err := a.authenticate(r); err != nil {
		return err
	}
	if r.endpoint.Limit != "" {
		return r.Take(r.endpoint.Limit)
	}
	return nil
}

// fail writes the error. What is not the caller's doing is logged here, and nowhere else.
func (a *API) fail(w http.ResponseWriter, r *Request, err error) {
	var refused *mxerr.Error
	var own Responder
	switch {
	case errors.As(err, &own):
		if write(w, r.HTTP, own.Answer()) == nil {
			return
		}
		refused = mxerr.From(err)
	case errors.As(err, &refused):
	case r.HTTP.Context().Err() != nil, errors.Is(err, context.Canceled):
		refused = mxerr.New(http.StatusServiceUnavailable, "M_UNKNOWN", "the request was given up")
	default:
		refused = mxerr.From(err)
		a.options.Log.Error("a request failed", "method", r.HTTP.Method, "route", r.endpoint.Path, "user", r.User(), "error", err)
	}
	writeError(w, refused)
}

// writeError writes the standard error response (client-server API, "Standard error response").
func writeError(w http.ResponseWriter, e *mxerr.Error) {
	body := make(map[string]any, len(e.Fields)+2)
	for k, v := range e.Fields {
		body[k] = v
	}
	body["errcode"], body["error"] = e.Code, e.Message
	if e.Status == http.StatusTooManyRequests {
		if ms, ok := e.Fields["retry_after_ms"].(int64); ok {
			w.Header().Set("Retry-After", strconv.FormatInt((ms+999)/1000, 10))
		}
	}
	if e.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	raw, err := marshal(body)
	if err != nil { // fields that are no JSON are a defect; the code and the sentence still arrive
		raw, _ = marshal(map[string]any{"errcode": e.Code, "error": e.Message})
	}
	writeJSON(w, e.Status, raw)
}

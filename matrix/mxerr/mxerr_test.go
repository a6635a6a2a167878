package mxerr

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Each constructor has the status and the errcode that the specification gives (client-server API, "Common error codes").
func TestConstructors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		make   func(string, ...any) *Error
		status int
		code   string
	}{
		{Forbidden, http.StatusForbidden, "M_FORBIDDEN"},
		{NotFound, http.StatusNotFound, "M_NOT_FOUND"},
		{Unrecognized, http.StatusNotFound, "M_UNRECOGNIZED"},
		{BadJSON, http.StatusBadRequest, "M_BAD_JSON"},
		{NotJSON, http.StatusBadRequest, "M_NOT_JSON"},
		{InvalidParam, http.StatusBadRequest, "M_INVALID_PARAM"},
		{MissingParam, http.StatusBadRequest, "M_MISSING_PARAM"},
		{TooLarge, http.StatusRequestEntityTooLarge, "M_TOO_LARGE"},
		{Unknown, http.StatusInternalServerError, "M_UNKNOWN"},
	} {
		want := &Error{Status: c.status, Code: c.code, Message: "no 1 of x"}
		got := c.make("no %d of %s", 1, "x")
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
		if got.Error() != c.code+": no 1 of x" {
			t.Errorf("reads %q", got.Error())
		}
	}
}

func TestLimitExceeded(t *testing.T) {
	t.Parallel()
	e := LimitExceeded(1500)
	if e.Status != http.StatusTooManyRequests || e.Code != "M_LIMIT_EXCEEDED" || e.Fields["retry_after_ms"] != int64(1500) || e.Message == "" {
		t.Errorf("%+v", e)
	}
}

// With leaves the error it is called on as it was.
func TestWith(t *testing.T) {
	t.Parallel()
	first := Forbidden("no")
	second := first.With("soft_logout", true)
	third := second.With("a", 1).With("soft_logout", false)
	for i, want := range []map[string]any{nil, {"soft_logout": true}, {"soft_logout": false, "a": 1}} {
		e := []*Error{first, second, third}[i]
		if d := cmp.Diff(want, e.Fields); d != "" || e.Code != "M_FORBIDDEN" || e.Status != http.StatusForbidden || e.Message != "no" {
			t.Errorf("%d: %+v\n%s", i, e, d)
		}
	}
}

// From finds the refusal in a chain of errors; of others it tells nothing.
func TestFrom(t *testing.T) {
	t.Parallel()
	refusal := NotFound("nothing there")
	for _, err := range []error{refusal, fmt.Errorf("reading: %w", refusal), errors.Join(io.EOF, fmt.Errorf("x: %w", refusal))} {
		if got := From(err); got != refusal {
			t.Errorf("%v gives %v", err, got)
		}
	}
	got := From(errors.New("secret path /etc"))
	if d := cmp.Diff(Unknown("the server could not do this; the error has been logged"), got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// Package mxerr is the one error type that reaches clients and remote servers: an HTTP status, the
// specification's errcode and a sentence that helps (client-server API, "Standard error response").
package mxerr

import (
	"errors"
	"fmt"
	"net/http"
)

// Error is a refusal in the specification's terms.
type Error struct {
	Status  int    // HTTP status
	Code    string // errcode
	Message string // for people
	// Fields are further top-level members of the JSON answer, such as retry_after_ms or soft_logout.
	Fields map[string]any
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// With gives a copy of the error with one more field.
func (e *Error) With(name string, value any) *Error {
	c := *e
	c.Fields = make(map[string]any, len(e.Fields)+1)
	for k, v := range e.Fields {
		c.Fields[k] = v
	}
	c.Fields[name] = value
	return &c
}

// New makes an error with a formatted message.
func New(status int, code, format string, args ...any) *Error {
	return &Error{Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

// Forbidden is 403 M_FORBIDDEN.
func Forbidden(format string, args ...any) *Error {
	return New(http.StatusForbidden, "M_FORBIDDEN", format, args...)
}

// NotFound is 404 M_NOT_FOUND.
func NotFound(format string, args ...any) *Error {
	return New(http.StatusNotFound, "M_NOT_FOUND", format, args...)
}

// Unrecognized is 404 M_UNRECOGNIZED: no such endpoint.
func Unrecognized(format string, args ...any) *Error {
	return New(http.StatusNotFound, "M_UNRECOGNIZED", format, args...)
}

// BadJSON is 400 M_BAD_JSON: JSON of the wrong shape.
func BadJSON(format string, args ...any) *Error {
	return New(http.StatusBadRequest, "M_BAD_JSON", format, args...)
}

// NotJSON is 400 M_NOT_JSON: not JSON at all.
func NotJSON(format string, args ...any) *Error {
	return New(http.StatusBadRequest, "M_NOT_JSON", format, args...)
}

// InvalidParam is 400 M_INVALID_PARAM.
func InvalidParam(format string, args ...any) *Error {
	return New(http.StatusBadRequest, "M_INVALID_PARAM", format, args...)
}

// MissingParam is 400 M_MISSING_PARAM.
func MissingParam(format string, args ...any) *Error {
	return New(http.StatusBadRequest, "M_MISSING_PARAM", format, args...)
}

// TooLarge is 413 M_TOO_LARGE.
func TooLarge(format string, args ...any) *Error {
	return New(http.StatusRequestEntityTooLarge, "M_TOO_LARGE", format, args...)
}

// LimitExceeded is 429 M_LIMIT_EXCEEDED with retry_after_ms.
func LimitExceeded(retryAfterMS int64) *Error {
	return New(http.StatusTooManyRequests, "M_LIMIT_EXCEEDED", "too many requests; try again in %d ms", retryAfterMS).
		With("retry_after_ms", retryAfterMS)
}

// Unknown is 500 M_UNKNOWN.
func Unknown(format string, args ...any) *Error {
	return New(http.StatusInternalServerError, "M_UNKNOWN", format, args...)
}

// MayPass reports whether the same may succeed later: what fails, or what it needs, does not answer now or is asked too much. Errors that are none of
// the specification may.
func MayPass(err error) bool {
	status := From(err).Status
	return status >= http.StatusInternalServerError || status == http.StatusTooManyRequests
}

// From gives the *Error in err's chain, or a 500 that does not tell the cause.
func From(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return Unknown("the server could not do this; the error has been logged")
}

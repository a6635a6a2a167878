package media

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/matrixon/matrixon/actors/federation"
	"github.com/matrixon/matrixon/matrix/mxerr"
)

// Origin fetches media from the homeserver that it belongs to (Remote; server-server API, "Content Repository").
type Origin struct {
	Caller federation.Caller
	// Web follows servers that say where the media is instead of sending it.
	Web *http.Client
	// MaxSize bounds what is read, in bytes.
	MaxSize int64
}

const (
	// beside is what an answer may have besides the media, in bytes.
	beside = 64 << 10
	// pause is how long another server may pause while it sends.
	pause = 30 * time.Second
)

// Fetch implements Remote.
func (o *Origin) Fetch(ctx context.Context, server, mediaID string, wait time.Duration) (*RemoteFile, error) {
	waiting := "timeout_ms=" + strconv.FormatInt(wait.Milliseconds(), 10)
	open := func(uri string) (io.ReadCloser, string, error) {
		return o.Caller.Open(ctx, federation.Request{Destination: server, Method: http.MethodGet, URI: uri, Limit: o.MaxSize + beside, Timeout: wait + pause, Eager: true})
	}
	body, kind, err := open("/_matrix/federation/v1/media/download/" + url.PathEscape(mediaID) + "?" + waiting)
	if unknownEndpoint(err) {
		// A server that is older than authenticated media.
		if body, kind, err = open("/_matrix/media/v3/download/" + server + "/" + url.PathEscape(mediaID) + "?allow_remote=false&" + waiting); err == nil {
			return &RemoteFile{Body: body, Size: -1, Type: kind}, nil
		}
	}
	if err != nil {
		return nil, notGiven(err)
	}
	file, err := o.unpack(ctx, body, kind)
	if err != nil {
		return nil, errors.Join(err, body.Close())
	}
	return file, nil
}

// unknownEndpoint reports whether the other server does not know the endpoint, as opposed to the media.
func unknownEndpoint(err error) bool {
	var e *federation.Error
	return errors.As(err, &e) && (e.Code == "M_UNRECOGNIZED" || e.Code == "" && e.Status == http.StatusNotFound)
}

// notGiven is what a client is told of another server's refusal; other failures are told by the Repository.
func notGiven(err error) error {
	var e *federation.Error
	switch {
	case !errors.As(err, &e):
		return err
	case e.Status == http.StatusNotFound:
		return mxerr.NotFound("%s has no such media", e.Destination)
	case e.Status == http.StatusGatewayTimeout && e.Code == "M_NOT_YET_UPLOADED":
		return mxerr.New(http.StatusGatewayTimeout, "M_NOT_YET_UPLOADED", "the content has not yet been uploaded")
	case e.Code == "M_TOO_LARGE":
		return mxerr.New(http.StatusBadGateway, "M_TOO_LARGE", "%s does not give media that is so large", e.Destination)
	}
	return err
}

// unpack finds the media in a multipart answer, whose first part is of no use yet.
func (o *Origin) unpack(ctx context.Context, body io.ReadCloser, kind string) (*RemoteFile, error) {
	mediaType, params, err := mime.ParseMediaType(kind)
	if err != nil || mediaType != "multipart/mixed" || params["boundary"] == "" {
		return nil, fmt.Errorf("the answer is %.100q instead of multipart/mixed", kind)
	}
	parts := multipart.NewReader(body, params["boundary"])
	if _, err := parts.NextRawPart(); err != nil {
		return nil, err
	}
	file, err := parts.NextRawPart()
	if err != nil {
		return nil, err
	}
	if location := file.Header.Get("Location"); location != "" {
		found, err := o.follow(ctx, location)
		if err == nil {
			err = body.Close()
		}
		return found, err
	}
	return described(&RemoteFile{Body: &part{file, body}, Size: -1}, http.Header(file.Header)), nil
}

// follow fetches the media from where the other server says it is.
func (o *Origin) follow(ctx context.Context, location string) (*RemoteFile, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, location, nil)
	if err != nil {
		return nil, err
	}
	if r.URL.Scheme != "https" {
		return nil, fmt.Errorf("the media is said to be at %.200q, which is not https", location)
	}
	resp, err := o.Web.Do(r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("%s answers %s", r.URL.Host, resp.Status), resp.Body.Close())
	}
	return described(&RemoteFile{Body: resp.Body, Size: resp.ContentLength}, resp.Header), nil
}

// described adds what the headers say of the file.
func described(file *RemoteFile, h http.Header) *RemoteFile {
	file.Type = h.Get("Content-Type")
	if _, params, err := mime.ParseMediaType(h.Get("Content-Disposition")); err == nil && params["filename"] != "" {
		name := params["filename"]
		file.Filename = &name
	}
	return file
}

// part is one part of an answer, with which the whole answer is closed.
type part struct {
	io.Reader
	io.Closer
}

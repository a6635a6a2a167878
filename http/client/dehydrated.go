package client

import (
	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/syncer"
	"github.com/matrixon/matrixon/actors/token"
	"github.com/matrixon/matrixon/actors/user/dehydrated"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
)

const (
	dehydratedData  = 256 << 10 // bytes; a device with fifty one-time keys has two thousand
	dehydratedBatch = 100       // messages
)

// dehydration are the endpoints of the dehydrated device (MSC3814).
func (e *encryption) dehydration() []api.Endpoint {
	const path = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device"
	return []api.Endpoint{
		{Methods: put, Path: path, Auth: api.User, Limit: api.LimitKeys, MaxBody: keysBody, WhileSuspended: true, Handler: e.putDehydrated},
		{Methods: get, Path: path, Auth: api.User, Limit: api.LimitRead, Handler: e.getDehydrated},
		{Methods: remove, Path: path, Auth: api.User, Limit: api.LimitKeys, WhileSuspended: true, Handler: e.deleteDehydrated},
		{Methods: get, Path: path + "/{deviceId}/events", Auth: api.User, Limit: api.LimitRead, Handler: e.dehydratedEvents},
		{Methods: post, Path: path + "/{deviceId}/events", Auth: api.User, Limit: api.LimitRead, WhileSuspended: true, Handler: e.dehydratedEventsByBody},
	}
}

func (e *encryption) putDehydrated(r *api.Request) (any, error) {
	var body struct {
		DeviceID     string         `json:"device_id"`
		Data         jsontext.Value `json:"device_data"`
		DisplayName  string         `json:"initial_device_display_name"`
		DeviceKeys   jsontext.Value `json:"device_keys"`
		OneTimeKeys  jsontext.Value `json:"one_time_keys"`
		FallbackKeys jsontext.Value `json:"fallback_keys"`
	}
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	switch {
	case body.DeviceID == "" || body.Data == nil || body.DeviceKeys == nil:
		return nil, mxerr.MissingParam("device_id, device_data and device_keys are required")
	case len(body.DeviceID) > maxDeviceID:
		return nil, mxerr.InvalidParam("device_id is longer than %d bytes", maxDeviceID)
	case len(body.DisplayName) > maxDeviceName:
		return nil, mxerr.InvalidParam("initial_device_display_name is longer than %d bytes", maxDeviceName)
	case body.Data.Kind() != '{' || gjson.GetBytes(body.Data, "algorithm").Type != gjson.String:
		return nil, mxerr.BadJSON("device_data must be an object with an algorithm")
	case len(body.Data) > dehydratedData:
		return nil, mxerr.TooLarge("device_data has at most %d bytes", dehydratedData)
	case body.DeviceKeys.Kind() != '{':
		return nil, mxerr.BadJSON("device_keys must be an object")
	}
	_, err := AskUser[*messages.Done](r.Ctx, e.Deps, r.User(), &messages.PutDehydratedDevice{
		DeviceId: body.DeviceID, DisplayName: body.DisplayName, Data: body.Data, DeviceKeys: body.DeviceKeys,
		OneTimeKeys: presentObject(body.OneTimeKeys), FallbackKeys: presentObject(body.FallbackKeys)})
	if err != nil {
		return nil, err
	}
	return map[string]string{"device_id": body.DeviceID}, nil
}

func (e *encryption) getDehydrated(r *api.Request) (any, error) {
	row, err := dehydrated.Get(r.Ctx, e.Store, r.User())
	if err != nil {
		return nil, err
	}
	return map[string]any{"device_id": row.DeviceID, "device_data": jsontext.Value(row.Data)}, nil
}

func (e *encryption) deleteDehydrated(r *api.Request) (any, error) {
	gone, err := AskUser[*messages.DehydratedDeviceDeleted](r.Ctx, e.Deps, r.User(), &messages.DeleteDehydratedDevice{})
	if err != nil {
		return nil, err
	}
	return map[string]string{"device_id": gone.DeviceId}, nil
}

// inboxPage is a page of the messages to the dehydrated device.
type inboxPage struct {
	Events    []jsontext.Value `json:"events"`
	NextBatch string           `json:"next_batch,omitzero"`
}

func (e *encryption) dehydratedEvents(r *api.Request) (any, error) {
	page, more, err := e.inbox(r, r.Query().Get("from"))
	if err == nil && !more {
		page.NextBatch = ""
	}
	return page, err
}

// dehydratedEventsByBody is dehydratedEvents in the way of an earlier version of the proposal: its clients go on until a page is empty.
func (e *encryption) dehydratedEventsByBody(r *api.Request) (any, error) {
	var body struct {
		NextBatch string `json:"next_batch"`
	}
	if err := r.DecodeOptional(&body); err != nil {
		return nil, err
	}
	page, _, err := e.inbox(r, body.NextBatch)
	return page, err
}

// inbox reads a page of the messages, which stay: another client can begin anew if this one does not come to the end.
func (e *encryption) inbox(r *api.Request, from string) (page inboxPage, more bool, err error) {
	var since token.Inbox
	if from != "" {
		if since, err = token.ParseInbox(from); err != nil {
			return page, false, err
		}
	}
	row, err := dehydrated.Get(r.Ctx, e.Store, r.User())
	if err != nil && mxerr.From(err).Code == "M_NOT_FOUND" || err == nil && row.DeviceID != r.Vars["deviceId"] {
		return page, false, mxerr.Forbidden("this is not your dehydrated device")
	}
	if err != nil {
		return page, false, err
	}
	events, upTo, err := syncer.Inbox(r.Ctx, e.Store, r.User(), row.DeviceID, since.Pos, 0, dehydratedBatch)
	if err != nil {
		return page, false, err
	}
	next, _, err := syncer.Inbox(r.Ctx, e.Store, r.User(), row.DeviceID, upTo, 0, 1)
	return inboxPage{events, token.Inbox{Pos: upTo}.String()}, len(next) > 0, err
}

package client

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/sync/errgroup"

	"github.com/matrixon/matrixon/actors/federation/devicelists"
	"github.com/matrixon/matrixon/actors/syncer"
	"github.com/matrixon/matrixon/actors/user/keys"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/api/uia"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The bounds of one request about keys.
const (
	keysBody    = 4 << 20 // bytes
	keysUsers   = 5000    // users queried or claimed from at once
	claimsAtOne = 32      // claims that run beside each other
)

// EncryptionOptions are what the endpoints of end-to-end encryption need besides Deps.
type EncryptionOptions struct {
	UIA *uia.Engine
	// ResetPage is where users confirm that their cross-signing keys are replaced, who came with OAuth 2.0.
	ResetPage func() string
	Syncer    *syncer.Syncer
	// Remote knows the keys of users of other servers; nil without federation.
	Remote *devicelists.Lists
}

type encryption struct {
	Deps
	EncryptionOptions
}

// Encryption are the endpoints of end-to-end encryption: keys, cross-signing, key backup and to-device messages.
func Encryption(d Deps, o EncryptionOptions) []api.Endpoint {
	e := &encryption{d, o}
	own := []api.Endpoint{
		{Methods: post, Path: "/_matrix/client/v3/keys/upload", Also: []string{"/_matrix/client/v3/keys/upload/{deviceId}"}, R0: true, Auth: api.User,
			Limit: api.LimitKeys, MaxBody: keysBody, WhileSuspended: true, Handler: e.upload},
		{Methods: post, Path: "/_matrix/client/v3/keys/query", R0: true, Auth: api.User, Limit: api.LimitKeys, MaxBody: keysBody, WhileSuspended: true, Handler: e.query},
		{Methods: post, Path: "/_matrix/client/v3/keys/claim", R0: true, Auth: api.User, Limit: api.LimitKeys, MaxBody: keysBody, WhileSuspended: true, Handler: e.claim},
		{Methods: get, Path: "/_matrix/client/v3/keys/changes", R0: true, Auth: api.User, Limit: api.LimitRead, Handler: e.changes},
		{Methods: post, Path: "/_matrix/client/v3/keys/device_signing/upload", Also: []string{"/_matrix/client/unstable/keys/device_signing/upload"}, R0: true,
			Auth: api.User, Limit: api.LimitKeys, WhileSuspended: true, Handler: e.uploadCrossSigning},
		{Methods: post, Path: "/_matrix/client/v3/keys/signatures/upload", Also: []string{"/_matrix/client/unstable/keys/signatures/upload"}, R0: true,
			Auth: api.User, Limit: api.LimitKeys, MaxBody: keysBody, WhileSuspended: true, Handler: e.uploadSignatures},
		{Methods: put, Path: "/_matrix/client/v3/sendToDevice/{eventType}/{txnId}", R0: true, Auth: api.User, Limit: api.LimitKeys, MaxBody: keysBody, WhileSuspended: true, Handler: e.sendToDevice},
	}
	return append(append(own, e.backups()...), e.dehydration()...)
}

// requester names who asks, for the messages to actors.
func requester(r *api.Request) *messages.Requester {
	return &messages.Requester{UserId: r.User(), DeviceId: r.Device()}
}

func (e *encryption) upload(r *api.Request) (any, error) {
	var body struct {
		DeviceKeys   jsontext.Value `json:"device_keys"`
		OneTimeKeys  jsontext.Value `json:"one_time_keys"`
		FallbackKeys jsontext.Value `json:"fallback_keys"`
	}
	if err := r.DecodeOptional(&body); err != nil {
		return nil, err
	}
	if r.Device() == "" {
		return nil, mxerr.MissingParam("keys are a device's: an application service must name one with device_id")
	}
	if d := r.Vars["deviceId"]; d != "" && d != r.Device() {
		return nil, mxerr.InvalidParam("the keys are for the device %s, but you are using %s", d, r.Device())
	}
	counts, err := AskUser[*messages.KeyCounts](r.Ctx, e.Deps, r.User(), &messages.UploadKeys{
		By: requester(r), DeviceKeys: presentObject(body.DeviceKeys), OneTimeKeys: presentObject(body.OneTimeKeys), FallbackKeys: presentObject(body.FallbackKeys)})
	if err != nil {
		return nil, err
	}
	return map[string]any{"one_time_key_counts": counts.Counts}, nil
}

// presentObject gives nothing for a member that is null.
func presentObject(v jsontext.Value) []byte {
	if v.Kind() == 'n' {
		return nil
	}
	return v
}

func (e *encryption) query(r *api.Request) (any, error) {
	var body struct {
		Timeout    *int64              `json:"timeout"`
		DeviceKeys map[string][]string `json:"device_keys"`
	}
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	if body.DeviceKeys == nil {
		return nil, mxerr.BadJSON("device_keys is required: which devices of which users")
	}
	if len(body.DeviceKeys) > keysUsers {
		return nil, mxerr.TooLarge("at most %d users can be asked for at once", keysUsers)
	}
	answer := keys.NewAnswer()
	remote := map[string][]string{}
	for userID, devices := range body.DeviceKeys {
		if !id.ValidUser(userID) {
			return nil, mxerr.InvalidParam("%q is not a user id", userID)
		}
		if server := id.ServerOf(userID); server != e.ServerName {
			if remote[userID] = devices; e.Remote == nil {
				answer.Failures[server] = unreachable
			}
			continue
		}
		if err := answer.Query(r.Ctx, e.Store, r.User(), userID, devices); err != nil {
			return nil, err
		}
	}
	if e.Remote == nil || len(remote) == 0 {
		return answer, nil
	}
	return answer, e.Remote.Query(r.Ctx, r.User(), remote, patience(body.Timeout), answer)
}

// longestPatience is how long other servers have to answer.
const longestPatience = 10 * time.Second

// patience is how long a client gives other servers to answer, in ms.
func patience(ms *int64) time.Duration {
	if ms == nil || *ms < 0 || *ms > longestPatience.Milliseconds() {
		return longestPatience
	}
	return time.Duration(*ms) * time.Millisecond
}

// unreachable is what is told of a server that did not answer.
var unreachable = jsontext.Value(`{"errcode":"M_UNKNOWN","error":"the server could not be reached"}`)

func (e *encryption) claim(r *api.Request) (any, error) {
	var body struct {
		Timeout     *int64                       `json:"timeout"`
		OneTimeKeys map[string]map[string]string `json:"one_time_keys"`
	}
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	if body.OneTimeKeys == nil {
		return nil, mxerr.BadJSON("one_time_keys is required: which algorithm of which devices of which users")
	}
	if len(body.OneTimeKeys) > keysUsers {
		return nil, mxerr.TooLarge("keys of at most %d users can be claimed at once", keysUsers)
	}
	local, remote := map[string]map[string]string{}, map[string]map[string]string{}
	failures := map[string]jsontext.Value{}
	for userID, devices := range body.OneTimeKeys {
		if !id.ValidUser(userID) {
			return nil, mxerr.InvalidParam("%.255q is not a user id", userID)
		}
		if server := id.ServerOf(userID); server != e.ServerName {
			if remote[userID] = devices; e.Remote == nil {
				failures[server] = unreachable
			}
			continue
		}
		local[userID] = devices
	}
	found, err := ClaimKeys(r.Ctx, e.Deps, local)
	if err != nil {
		return nil, err
	}
	if e.Remote != nil && len(remote) > 0 {
		theirs, failed, err := e.Remote.Claim(r.Ctx, remote, patience(body.Timeout))
		if err != nil {
			return nil, err
		}
		maps.Copy(found, theirs)
		failures = failed
	}
	return map[string]any{"one_time_keys": found, "failures": failures}, nil
}

// ClaimKeys takes keys of devices of local users: user → device → algorithm. What it gives is user → device → key id → key; a device
// that has no key is left out.
func ClaimKeys(ctx context.Context, d Deps, wanted map[string]map[string]string) (map[string]map[string]map[string]jsontext.Value, error) {
	c := claims{found: map[string]map[string]map[string]jsontext.Value{}}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(claimsAtOne)
	for userID, devices := range wanted {
		for device, algorithm := range devices {
			g.Go(func() error { return c.claim(ctx, d, userID, device, algorithm) })
		}
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return c.found, nil
}

// claims collects what parallel claims found: user → device → key id → key.
type claims struct {
	mu    sync.Mutex
	found map[string]map[string]map[string]jsontext.Value
}

func (c *claims) claim(ctx context.Context, d Deps, userID, device, algorithm string) error {
	// A device that does not exist has no keys, and its user's actor need not be troubled.
	if _, ok, err := schema.Devices.Get(ctx, d.Store, schema.Device{UserID: userID, DeviceID: device}); err != nil || !ok {
		return err
	}
	key, err := AskUser[*messages.ClaimedKey](ctx, d, userID, &messages.ClaimKey{DeviceId: device, Algorithm: algorithm})
	if err != nil || key.KeyId == "" {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.found[userID] == nil {
		c.found[userID] = map[string]map[string]jsontext.Value{}
	}
	c.found[userID][device] = map[string]jsontext.Value{key.KeyId: key.Json}
	return nil
}

func (e *encryption) changes(r *api.Request) (any, error) {
	from, err := r.Need("from")
	if err != nil {
		return nil, err
	}
	to, err := r.Need("to")
	if err != nil {
		return nil, err
	}
	return e.Syncer.KeyChanges(r.Ctx, r.User(), from, to)
}

// uploadCrossSigning asks for the password only when keys would be replaced.
func (e *encryption) uploadCrossSigning(r *api.Request) (any, error) {
	var body struct {
		Master      jsontext.Value `json:"master_key"`
		SelfSigning jsontext.Value `json:"self_signing_key"`
		UserSigning jsontext.Value `json:"user_signing_key"`
	}
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	request := &messages.UploadCrossSigning{By: requester(r), Master: presentObject(body.Master),
		SelfSigning: presentObject(body.SelfSigning), UserSigning: presentObject(body.UserSigning)}
	change, err := keys.CompareCrossSigning(r.Ctx, e.Store, request)
	if err != nil {
		return nil, err
	}
	if change == keys.CrossSigningReplaces && r.Session.Appservice == "" {
		if err := e.mayReplace(r); err != nil {
			return nil, err
		}
	}
	_, err = AskUser[*messages.Done](r.Ctx, e.Deps, r.User(), request)
	return nil, err
}

// mayReplace asks the user to prove to be there, or where the client knows nothing of passwords to confirm it in the browser.
func (e *encryption) mayReplace(r *api.Request) error {
	if r.Session.OAuth == "" {
		_, err := e.UIA.Require(r, uia.ByPassword)
		return err
	}
	return e.UIA.Confirm(r, e.ResetPage(), func() (bool, error) {
		row, ok, err := schema.CrossSigningResets.Get(r.Ctx, e.Store, schema.CrossSigningReset{UserID: r.User()})
		return ok && r.Now.UnixMilli() < row.ExpiresTS, err
	})
}

func (e *encryption) uploadSignatures(r *api.Request) (any, error) {
	object, err := r.Object()
	if err != nil {
		return nil, err
	}
	answer, err := AskUser[*messages.SignatureFailures](r.Ctx, e.Deps, r.User(), &messages.UploadSignatures{By: requester(r), Signed: object})
	if err != nil {
		return nil, err
	}
	return map[string]any{"failures": jsontext.Value(answer.Failures)}, nil
}

func (e *encryption) sendToDevice(r *api.Request) (any, error) {
	var body struct {
		Messages jsontext.Value `json:"messages"`
	}
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	if body.Messages.Kind() != '{' {
		return nil, mxerr.BadJSON("messages is required: which content for which devices of which users")
	}
	_, err := AskUser[*messages.Done](r.Ctx, e.Deps, r.User(), &messages.SendToDevice{
		By: requester(r), Type: r.Vars["eventType"], TxnId: r.Vars["txnId"], Messages: body.Messages})
	return nil, err
}

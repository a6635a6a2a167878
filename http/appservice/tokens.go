package appservice

import (
	"context"
	"crypto/sha256"
	"net/http"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Tokens authenticates application services by their tokens, and hands everybody else on.
type Tokens struct {
	Services *Services
	Next     api.Authenticator
}

// Authenticate gives the session of the user and device as whom an application service speaks (application service API, "Identity
// assertion").
func (t Tokens) Authenticate(ctx context.Context, token string, r *http.Request) (*api.Session, error) {
	set := t.Services.Set()
	service := set.ByToken(token)
	if service == nil {
		return t.Next.Authenticate(ctx, token, r)
	}
	query := r.URL.Query()
	userID := query.Get("user_id")
	if userID == "" {
		userID = service.UserID()
	}
	if !set.MayActAs(service, userID) {
		return nil, mxerr.Forbidden("the application service cannot act as %.255q: the user is in none of its namespaces, or reserved to another", userID)
	}
	if userID == service.UserID() {
		if err := t.Services.Introduce(ctx, service); err != nil {
			return nil, err
		}
	}
	account, ok, err := schema.Accounts.Get(ctx, t.Services.Store, schema.Account{UserID: userID})
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, mxerr.Forbidden("the application service has not registered %.255s", userID)
	case account.Deactivated:
		return nil, mxerr.New(http.StatusForbidden, "M_USER_DEACTIVATED", "%.255s has been deactivated", userID)
	}
	s := &api.Session{
		UserID: userID, Admin: account.Admin, Locked: account.Locked, Suspended: account.Suspended,
		Appservice: service.ID, Unlimited: !service.Limited(userID), TokenHash: sha256.Sum256([]byte(token)),
	}
	s.DeviceID, s.DeviceSince, err = t.device(ctx, userID, query.Get("device_id"), query.Get("org.matrix.msc3202.device_id"))
	return s, err
}

// device checks that the device that a request names is one of the user.
func (t Tokens) device(ctx context.Context, userID, deviceID, unstable string) (string, int64, error) {
	if deviceID == "" {
		deviceID = unstable
	}
	if deviceID == "" {
		return "", 0, nil
	}
	device, ok, err := schema.Devices.Get(ctx, t.Services.Store, schema.Device{UserID: userID, DeviceID: deviceID})
	if err == nil && !ok {
		err = mxerr.New(http.StatusBadRequest, "M_UNKNOWN_DEVICE", "%.255s has no device %.255q", userID, deviceID)
	}
	return deviceID, device.CreatedTS, err
}

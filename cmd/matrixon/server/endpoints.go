package server

import (
	"context"
	"time"

	"go.opentelemetry.io/otel"

	sender "github.com/matrixon/matrixon/actors/delayed"
	"github.com/matrixon/matrixon/http/admin"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/api/uia"
	"github.com/matrixon/matrixon/http/appservice"
	"github.com/matrixon/matrixon/http/client"
	"github.com/matrixon/matrixon/http/console"
)

// authLifetime is how long a user-interactive authentication may take.
const authLifetime = uia.Lifetime

// buildAPI adds the endpoints of every area.
func (s *Server) buildAPI(ctx context.Context) error {
	deps := s.deps()
	engine := &uia.Engine{ServerName: s.config.ServerName, Store: s.store, Passwords: s.hasher, Addresses: s.addresses}
	s.seen = api.NewLastSeen(client.WriteSightings(deps))
	s.tokens = api.NewTokens(api.TokensOptions{Store: s.store, Now: time.Now, Remember: s.sessionMemory(), FirstUse: client.ConfirmRefresh(deps)})
	s.api = api.New(api.Options{Auth: appservice.Tokens{Services: s.appservices.services, Next: s.tokens}, Federation: s.federationAuth(), Limits: &s.limits, Seen: s.seen, Log: s.log, Metrics: s.metrics, Now: time.Now,
		TrustedProxies: s.config.TrustedProxies, MaxBody: int64(s.config.Events.MaxBody), ServerTiming: s.config.Metrics.ServerTiming, Tracer: otel.Tracer("github.com/matrixon/matrixon/http")})
	operator := api.Operator{ServerName: s.config.ServerName, Version: s.version, Ready: s.ready}
	if s.config.Metrics.Enabled {
		operator.Gatherer = s.metrics
	}
	s.api.AddOperator(operator)
	accounts := client.AccountOptions{
		Sessions: s.tokens, Passwords: s.hasher, UIA: engine,
		Registration:   s.registration,
		AccessLifetime: time.Duration(s.config.Session.AccessTokenLifetime), RefreshLifetime: time.Duration(s.config.Session.RefreshTokenLifetime),
		Discovery: s.discovery(), Push: s.pushOptions(), Addresses: s.addresses,
		NoPasswords: s.config.SSO.Only,
	}
	if s.inquirer != nil {
		accounts.RemoteProfile = s.inquirer.Profile
	}
	if err := s.browserEndpoints(ctx, deps, &accounts); err != nil {
		return err
	}
	s.api.Add(api.Client, client.Accounts(deps, accounts)...)
	s.api.Add(api.Admin, client.SharedSecretRegistration(deps, accounts)...)
	rooms := client.RoomOptions{
		Reader:        s.reader,
		Unread:        s.unread,
		UserDirectory: client.UserDirectory(s.config.UserDirectory),
		Search:        s.search,
		Inquirer:      s.inquirer,
		Creator:       s.creator(),
		Elsewhere:     s.elsewhere(),
		Delayed:       client.DelayedOptions{MaxDelay: time.Duration(s.config.DelayedEvents.MaxDelay), MaxScheduled: s.config.DelayedEvents.MaxScheduled},
		Past:          s.past(),
	}
	rooms.Delayed.Sender = sender.New(sender.Options{Store: s.store, Caller: s.node, Now: time.Now, Log: s.log,
		Check: client.DelayedCheck(deps, rooms, &s.limits), Elsewhere: client.DelayedElsewhere(deps, rooms)})
	s.delayed = rooms.Delayed.Sender
	s.api.Add(api.Client, client.Rooms(deps, rooms)...)
	s.api.Add(api.Admin, client.ServerNotices(deps, rooms)...)
	s.notify = client.Notify(deps, rooms)
	s.api.Add(api.Admin, admin.Endpoints(s.adminDeps())...)
	s.api.Add(api.Admin, console.Endpoints(console.Options{Operator: admin.Operator{Deps: s.adminDeps()}, Auth: s.tokens, Seen: s.seen, Version: s.version, Log: s.log})...)
	encryption := client.EncryptionOptions{UIA: engine, Syncer: s.syncer, Remote: s.deviceLists, ResetPage: s.resetPage}
	s.api.Add(api.Client, client.Encryption(deps, encryption)...)
	s.api.Add(api.Client, client.Sync(deps, s.syncer, s.config.Presence.Enabled)...)
	s.api.Add(api.Client, client.SlidingSync(s.sliding)...)
	s.api.Add(api.Client, client.SyncStreams(deps, s.syncer, s.config.Presence.Enabled)...)
	s.api.Add(api.Client, client.OldSync(deps, client.OldSyncOptions{Reader: s.reader, Syncer: s.syncer})...)
	s.api.Add(api.Client, s.appservices.services.Endpoints()...)
	s.api.Add(api.Media, s.media.Endpoints()...)
	s.federationEndpoints()
	s.api.Add(api.Client, s.rtc().Endpoints()...)
	turn := s.config.TURN
	s.api.Add(api.Client, client.Calls(deps, client.TURN{URIs: turn.URIs, Secret: turn.SharedSecret.Reveal(), Lifetime: time.Duration(turn.Lifetime)})...)
	return nil
}

// registration says who may make an account now.
func (s *Server) registration() client.RegistrationOptions {
	r := s.live.Load().Registration
	return client.RegistrationOptions{Open: r.Open, TokensRequired: r.TokensRequired, SharedSecret: r.SharedSecret.Reveal(),
		EmailRequired: r.EmailRequired, Terms: terms(r.Terms), Documents: documents(r.Terms)}
}

func (s *Server) sessionMemory() time.Duration {
	if s.alone() {
		return sessionMemoryAlone
	}
	return sessionMemoryCluster
}

// deps are what the endpoints of clients share.
func (s *Server) deps() client.Deps {
	return client.Deps{ServerName: s.config.ServerName, Store: s.store, Caller: s.node, Now: time.Now, Log: s.log, Appservices: s.appservices.services,
		Notices: s.notices()}
}

// notices is the account that sends server notices.
func (s *Server) notices() client.Notices {
	n := s.config.ServerNotices
	if n.User == "" {
		return client.Notices{}
	}
	return client.Notices{UserID: "@" + n.User + ":" + s.config.ServerName, Name: n.Name}
}

func (s *Server) rtc() client.RTC { return client.RTC{LiveKit: s.config.RTC.LiveKit} }

func (s *Server) discovery() client.DiscoveryOptions {
	w := s.config.WellKnown
	d := client.DiscoveryOptions{BaseURL: w.ClientBaseURL, PolicyKey: w.PolicyKey, Features: map[string]bool{}, Capabilities: map[string]any{}, WellKnown: map[string]any{}}
	if s.vouching != nil {
		d.PolicyKey = s.vouching.Key()
	}
	if scheduled := s.config.DelayedEvents; scheduled.MaxScheduled > 0 {
		d.Features["org.matrix.msc4140"] = true
		d.Capabilities["org.matrix.msc4140.delayed_events"] = map[string]int64{
			"max_delay_ms": time.Duration(scheduled.MaxDelay).Milliseconds(), "max_scheduled": int64(scheduled.MaxScheduled)}
	}
	if rtc := s.rtc(); len(rtc.LiveKit) > 0 {
		d.Features["org.matrix.msc4143"] = true
		d.WellKnown["org.matrix.msc4143.rtc_foci"] = rtc.Transports()
	}
	if w.Support.Page != "" || len(w.Support.Contacts) > 0 {
		d.Support = &client.Support{SupportPage: w.Support.Page}
		for _, c := range w.Support.Contacts {
			d.Support.Contacts = append(d.Support.Contacts, client.Contact{MatrixID: c.MatrixID, EmailAddress: c.EmailAddress, Role: c.Role})
		}
	}
	return d
}

package postgres

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lakeload/lakeload/cdc"
)

// failed says that op on object went wrong because of err, classed by what
// the server or the network said. An error that is a [cdc.Error] already keeps
// its class and its remedy. Nil stays nil.
func failed(op, object string, err error) error {
	if err == nil {
		return nil
	}
	var inner *cdc.Error
	if errors.As(err, &inner) {
		return &cdc.Error{Op: op, Object: object, Class: inner.Class, Remedy: inner.Remedy, Err: err}
	}
	class, remedy := classify(err)
	if sqlState(err) == codeNoPrivilege {
		err = fmt.Errorf("%w: %w", cdc.ErrDenied, err)
	}
	return &cdc.Error{Op: op, Object: object, Class: class, Remedy: remedy, Err: err}
}

// refused is a failure that the operator has to mend, and how.
func refused(op, object, remedy string, err error) error {
	return &cdc.Error{Op: op, Object: object, Class: cdc.ClassOperator, Remedy: remedy, Err: err}
}

// retryLater is a failure that passes, and what hastens it.
func retryLater(op, object, remedy string, err error) error {
	return &cdc.Error{Op: op, Object: object, Class: cdc.ClassRetry, Remedy: remedy, Err: err}
}

// remedyAdopt is what helps when the slot cannot give all changes any more.
const remedyAdopt = "`lakeload adopt` makes a new slot and has all tables copied again, the old content readable until then"

// resync is a failure after which the slot can no longer give all changes.
func resync(op, object string, err error) error {
	return &cdc.Error{Op: op, Object: object, Class: cdc.ClassResync, Err: err, Remedy: remedyAdopt}
}

// classify says what has to happen after err, and what the operator can do.
func classify(err error) (cdc.ErrorClass, string) {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		v := judgeServer(pg)
		return v.class, v.remedy
	}
	switch {
	case isCertificateError(err):
		return cdc.ClassOperator, "make the server's certificate and the connection's sslmode, sslrootcert and host agree"
	case isAlert(err):
		return cdc.ClassOperator, "the server ended the TLS handshake: see whether it wants a client certificate (sslcert, sslkey), and whether it accepts the one given"
	case strings.Contains(err.Error(), "server refused TLS connection"):
		return cdc.ClassOperator, "switch ssl on in the server, or connect with sslmode=disable where the network is trusted"
	case strings.Contains(err.Error(), "channel binding required"):
		return cdc.ClassOperator, "let the server authenticate by SCRAM over TLS, or do without channel_binding=require"
	case errors.Is(err, pgconn.ErrReadOnlyConnection), errors.Is(err, pgconn.ErrStandbyConnection), errors.Is(err, pgconn.ErrReadWriteConnection), errors.Is(err, pgconn.ErrPrimaryConnection):
		return cdc.ClassRetry, "none of the hosts is what target_session_attrs asks for (read-write, where several hosts are named): see whether a primary is among them"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), pgconn.Timeout(err),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, pgconn.ErrConnClosed):
		return cdc.ClassRetry, ""
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return cdc.ClassRetry, "see whether the host's name is right and can be resolved from here"
	}
	var network net.Error
	var connect *pgconn.ConnectError
	if errors.As(err, &network) || errors.As(err, &connect) {
		return cdc.ClassRetry, "see whether the server runs, and whether its address and port can be reached from here"
	}
	return cdc.ClassOperator, ""
}

func isCertificateError(err error) bool {
	var verify *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	return errors.As(err, &verify) || errors.As(err, &authority) || errors.As(err, &host) || errors.As(err, &invalid)
}

// isAlert tells of what the other side of a TLS handshake complains about.
func isAlert(err error) bool {
	var alert tls.AlertError
	var op *net.OpError
	return errors.As(err, &alert) || errors.As(err, &op) && op.Op == "remote error"
}

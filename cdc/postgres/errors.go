package postgres

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
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
	return &cdc.Error{Op: op, Object: object, Class: class, Remedy: remedy, Err: err}
}

// refused is a failure that the operator has to mend, and how.
func refused(op, object, remedy string, err error) error {
	return &cdc.Error{Op: op, Object: object, Class: cdc.ClassOperator, Remedy: remedy, Err: err}
}

// resync is a failure after which the slot can no longer give all changes.
func resync(op, object string, err error) error {
	return &cdc.Error{
		Op: op, Object: object, Class: cdc.ClassResync, Err: err,
		Remedy: "the slot cannot give all changes any more: drop it, let a new one be made, and copy the tables again",
	}
}

// sqlState is the server's code for err, or "".
func sqlState(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

// The server's codes that are asked for by name.
const (
	codeObjectInUse        = "55006"
	codeDuplicateObject    = "42710"
	codeUndefinedObject    = "42704"
	codeUndefinedTable     = "42P01"
	codeUndefinedSchema    = "3F000"
	codeUndefinedFunction  = "42883"
	codeLockNotAvailable   = "55P03"
	codeDeadlock           = "40P01"
	codeUniqueViolation    = "23505"
	codeConcurrentUpdate   = "XX000" // "tuple concurrently updated", an internal error
	codeNoPrerequisite     = "55000"
	codeUndefinedFile      = "58P01"
	codeNoPrivilege        = "42501"
	codeLimitExceeded      = "53400"
	codeQueryCanceled      = "57014"
	codeTooManyConnections = "53300"
)

// classify says what has to happen after err, and what the operator can do.
func classify(err error) (cdc.ErrorClass, string) {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return classifyServer(pg)
	}
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), pgconn.Timeout(err),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, pgconn.ErrConnClosed):
		return cdc.ClassRetry, ""
	case isCertificateError(err):
		return cdc.ClassOperator, "make the server's certificate and the connection's sslmode and sslrootcert agree"
	case strings.Contains(err.Error(), "server refused TLS connection"):
		return cdc.ClassOperator, "switch ssl on in the server, or connect with sslmode=disable where the network is trusted"
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

// classifyServer classes an error that the server sent. The codes are those
// of the manual's appendix "PostgreSQL Error Codes".
func classifyServer(pg *pgconn.PgError) (cdc.ErrorClass, string) {
	switch pg.Code {
	case "57P01", "57P02", "57P03", "57P05", // shutdown, crash, starting up, idle session
		codeTooManyConnections, "53000", "53100", "53200", // resources, disk full, memory
		"40001", codeDeadlock, codeLockNotAvailable, codeObjectInUse, codeQueryCanceled,
		"25P03", "25P04": // transaction time-outs
		return cdc.ClassRetry, ""
	case "28P01", "28000":
		return cdc.ClassOperator, "check the user, the password and the server's pg_hba.conf (replication connections are matched there by the database's name, as logical ones)"
	case "3D000":
		return cdc.ClassOperator, "name a database that exists"
	case codeNoPrivilege:
		return cdc.ClassOperator, "grant the right that the message names; `lakeload check` lists all that are missing"
	case codeLimitExceeded:
		return cdc.ClassOperator, "raise max_replication_slots and max_wal_senders, or drop replication slots that nobody uses"
	case codeNoPrerequisite:
		// "can no longer get changes from replication slot", "cannot read from
		// logical replication slot": it was invalidated.
		if strings.Contains(pg.Message, "get changes from replication slot") ||
			strings.Contains(pg.Message, "read from logical replication slot") || strings.Contains(pg.Detail, "invalidated") {
			return cdc.ClassResync, "the slot was invalidated by the server: drop it, let a new one be made, and copy the tables again"
		}
	case codeUndefinedFile:
		if strings.Contains(pg.Message, "WAL segment") {
			return cdc.ClassResync, "the server has removed write-ahead log that the slot needs: drop the slot, let a new one be made, and copy the tables again"
		}
	}
	if strings.HasPrefix(pg.Code, "08") {
		return cdc.ClassRetry, ""
	}
	return cdc.ClassOperator, pg.Hint
}

// The Go that builds ../kubernetes: a module that Debian's older Go fetches and go.sum pins.
module grantd/tests/e2e/toolchain

go 1.19

require golang.org/toolchain v0.0.1-go1.26.8.linux-amd64

// The network plugin that k3s starts its chain with, as it was when it still stood beside the others. Pinned by go.sum.
module grantd/tests/e2e/flannel

go 1.26.0

tool github.com/containernetworking/plugins/plugins/meta/flannel

require (
	github.com/containernetworking/cni v1.0.1 // indirect
	github.com/containernetworking/plugins v0.9.1 // indirect
)

# What a pod's spec does that the Pod Security Standard `restricted` forbids: a list of texts, empty when there is nothing.
# Each control of https://kubernetes.io/docs/concepts/security/pod-security-standards/ is here, for Linux.

# Where a container says nothing, its pod decides.
def effective($pod; field): (.securityContext // {} | field) as $own
	| if $own == null then ($pod.securityContext // {} | field) else $own end;

def of_container($pod):
	(.securityContext // {}) as $security
	| (if $security.privileged then "privileged" else empty end),
	(if $security.allowPrivilegeEscalation != false then "allowPrivilegeEscalation is not false" else empty end),
	(if $security.capabilities.drop // [] | index("ALL") then empty else "keeps capabilities" end),
	($security.capabilities.add // [] | .[] | select(. != "NET_BIND_SERVICE") | "adds \(.)"),
	(if effective($pod; .runAsNonRoot) then empty else "runAsNonRoot is not true" end),
	(if effective($pod; .runAsUser) == 0 then "runAsUser is 0" else empty end),
	(if effective($pod; .seccompProfile.type) | IN("RuntimeDefault", "Localhost") then empty else "has no seccompProfile" end),
	(if effective($pod; .appArmorProfile.type) | IN(null, "RuntimeDefault", "Localhost") then empty else "has no AppArmor profile" end),
	(if effective($pod; .seLinuxOptions.type) | IN(null, "", "container_t", "container_init_t", "container_kvm_t", "container_engine_t") then empty else "seLinuxOptions.type" end),
	(effective($pod; .seLinuxOptions.user, .seLinuxOptions.role) | select(. != null and . != "") | "seLinuxOptions.user or role"),
	(if $security.procMount | IN(null, "Default") then empty else "procMount" end),
	(if effective($pod; .windowsOptions.hostProcess) then "hostProcess" else empty end),
	(.ports // [] | .[] | select(.hostPort // 0 != 0) | "hostPort \(.hostPort)"),
	([.livenessProbe, .readinessProbe, .startupProbe, .lifecycle.postStart, .lifecycle.preStop] | .[]
		| (.httpGet.host, .tcpSocket.host) | select(. != null and . != "") | "asks the host \(.)");

def violations:
	. as $pod
	| [
		(("hostNetwork", "hostPID", "hostIPC") | select($pod[.])),
		(.volumes // [] | .[] | keys_unsorted[] | select(IN("name", "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret") | not) | "volume \(.)"),
		(.securityContext.sysctls // [] | .[] | "sysctl \(.name)"),
		(((.containers // []) + (.initContainers // []) + (.ephemeralContainers // [])) | .[] | "\(.name): " + of_container($pod))
	];

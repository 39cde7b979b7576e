"""The decision: which attestations an image needs, and whether it has them.

What belongs here: policies as values, which of them apply to an image, what must be looked up, and the
verdict. What does not: looking up (`facts`) and answering reviews (`admission`). Pure.

    images, policies ──> judgements (one per image and policy) ──> questions ──> [facts] ──> verdict

Each step is a small function. Whatever is not understood (an image, a pattern, an authority that does not exist) counts
as missing, never as present.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from operators.attestation import reasons
from operators.attestation.images import (
    ImageReference,
    ImageReferenceError,
    parse_image,
    parse_pattern,
)
from operators.attestation.signatures.keys import VerificationKey
from operators.attestation.signatures.results import Verified
from operators.attestation.vulnerabilities import (
    Scan,
    ScanQuestion,
    VulnerabilityPolicy,
    scan_problem,
)
from operators.attestation.workloads import ImageUse

__all__ = [
    "Authority",
    "AuthorityKey",
    "Evidence",
    "Judgement",
    "Policy",
    "Problem",
    "Question",
    "Revocation",
    "Revocations",
    "Verdict",
    "decide",
    "plan",
    "questions",
    "revoked_images",
    "scan_questions",
]

Mode = Literal["Enforce", "Warn", "Audit"]
AuthorityKey = tuple[str, str, str]
"""Kind, namespace (empty for cluster-scoped ones) and name of an authority."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """Whose attestations count."""

    key: AuthorityKey
    note: str
    server: str
    keys: tuple[VerificationKey, ...]
    identity: Literal["Digest", "Repository", "Exact"] = "Digest"
    max_age: timedelta | None = None

    @property
    def shown(self) -> str:
        """How people call it."""
        kind, namespace, name = self.key
        return f"{kind} {f'{namespace}/' if namespace else ''}{name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What images need. `count` of `authorities` must have attested; each by key material of its own."""

    shown: str
    scope: Literal["cluster", "namespace"]
    images: tuple[str, ...]
    exempt: tuple[str, ...] = ()
    authorities: tuple[AuthorityKey, ...]
    count: int
    mode: Mode = "Enforce"
    allow_on_backend_error: bool = False
    resolves_tags: bool = False
    vulnerability: VulnerabilityPolicy | None = None
    builders: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Question:
    """Which attestations of a digest an authority has is what must be looked up."""

    authority: AuthorityKey
    digest: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was found for a question: verified statements, the first rejection, or why there was no answer."""

    verified: tuple[Verified, ...] = ()
    rejection: str | None = None
    unavailable: str | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """One image under one policy; `image` is None when it cannot be read, and `problem` says why it cannot pass."""

    use: ImageUse
    policy: Policy
    image: ImageReference | None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """An image that does not have what a policy asks for; `reason` is the word for it in Events."""

    use: ImageUse
    policy: Policy
    message: str
    remedy: str = ""
    reason: str = reasons.IMAGE_NOT_ATTESTED

    def __str__(self) -> str:
        remedy = f"; {self.remedy}" if self.remedy else ""
        return (
            f"No matched signatures for container image: {self.use.image} ({self.use.field}): {self.policy.shown}: "
            f"{self.message}{remedy}"
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """The problems by what they lead to; nothing in `denied` means that the images may run."""

    denied: tuple[Problem, ...] = ()
    warned: tuple[Problem, ...] = ()
    audited: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Revocation:
    """One ImageRevocation: its name, and why it was created."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Revocations:
    """What does not count any more: digests of images and fingerprints of keys, each with what revokes it."""

    digests: Mapping[str, Revocation] = field(default_factory=dict)
    keys: Mapping[str, Revocation] = field(default_factory=dict)

    def of_key(self, fingerprint: str) -> str | None:
        """Return why a key does not count, None when it does."""
        found = self.keys.get(fingerprint.lower())
        return None if found is None else f"{found.reason} (ImageRevocation {found.name})"


# Which policies apply to an image ------------------------------------------------------------------------------------


def plan(uses: Iterable[ImageUse], policies: Sequence[Policy]) -> list[Judgement]:
    """Return which policies apply to which images. The policies are those of the namespace, and of the cluster for it.

    A namespace's own policies come on top of the cluster's: a more specific pattern of theirs takes nothing away.
    """
    found: list[Judgement] = []
    for use in dict.fromkeys(uses):
        for scope in ("cluster", "namespace"):
            found += _judgements(use, [policy for policy in policies if policy.scope == scope])
    return found


def _judgements(use: ImageUse, policies: Sequence[Policy]) -> list[Judgement]:
    try:
        image = parse_image(use.image)
    except ImageReferenceError as error:
        return [Judgement(use, policy, None, str(error)) for policy in policies]
    ranked: list[tuple[tuple[int, int, int], Policy]] = []
    broken: list[Judgement] = []
    for policy in policies:
        try:
            rank = _rank(policy, image)
        except ImageReferenceError as error:
            broken.append(Judgement(use, policy, image, f"the policy cannot be applied: {error}"))
            continue
        if rank is not None:
            ranked.append((rank, policy))
    best = max((rank for rank, _ in ranked), default=None)
    chosen = [policy for rank, policy in ranked if rank == best and not _is_exempt(policy, image)]
    return [*broken, *(Judgement(use, policy, image, _image_problem(image)) for policy in chosen)]


def _rank(policy: Policy, image: ImageReference) -> tuple[int, int, int] | None:
    """Return how specific the best pattern of a policy is that matches the image."""
    for text in policy.exempt:
        parse_pattern(text)  # one that cannot be read must not go unnoticed until it would matter
    patterns = [parse_pattern(text) for text in policy.images]
    return max(
        (pattern.specificity for pattern in patterns if pattern.matches(image)), default=None
    )


def _is_exempt(policy: Policy, image: ImageReference) -> bool:
    return any(parse_pattern(text).matches(image) for text in policy.exempt)


def _image_problem(image: ImageReference) -> str | None:
    if image.digest is None:
        return f"it has no digest, and a tag can move: deploy {image.name}@sha256:..."
    return None


# What must be looked up ----------------------------------------------------------------------------------------------


def questions(
    judgements: Iterable[Judgement], authorities: Mapping[AuthorityKey, Authority]
) -> list[Question]:
    """Return what must be known for the verdict, each question once."""
    return list(
        dict.fromkeys(
            Question(key, judgement.image.digest)
            for judgement in judgements
            if judgement.problem is None
            and judgement.image is not None
            and judgement.image.digest is not None
            for key in judgement.policy.authorities
            if key in authorities
        )
    )


def scan_questions(judgements: Iterable[Judgement]) -> list[ScanQuestion]:
    """Return which scans must be known for the verdict, each once."""
    return list(
        dict.fromkeys(
            ScanQuestion(rule.server, rule.parent, judgement.image.digest)
            for judgement in judgements
            if judgement.problem is None
            and judgement.image is not None
            and judgement.image.digest is not None
            if (rule := judgement.policy.vulnerability) is not None
        )
    )


def revoked_images(uses: Iterable[ImageUse], revocations: Revocations) -> list[Problem]:
    """Return a problem for each image whose digest is revoked, whatever policies there are."""
    found: list[Problem] = []
    for use in dict.fromkeys(uses):
        try:
            digest = parse_image(use.image).digest
        except ImageReferenceError:
            continue  # an image without a digest that can be read is a matter of policies
        revocation = revocations.digests.get(digest or "")
        if revocation is not None:
            found.append(_revoked(use, revocation))
    return found


def _revoked(use: ImageUse, revocation: Revocation) -> Problem:
    """Return the problem of a revoked image, which neither a signature nor an exception solves."""
    shown = f"ImageRevocation {revocation.name}"
    return Problem(
        use,
        Policy(shown=shown, scope="cluster", images=(), authorities=(), count=0),
        f"its digest is revoked: {revocation.reason}",
        f"deploy another image; only a user who may delete the {shown} can end this: "
        f"kubectl delete imagerevocations.attest.operatorkit.dev {revocation.name}",
        reasons.ATTESTATION_REVOKED,
    )


# The verdict ---------------------------------------------------------------------------------------------------------


def decide(
    judgements: Iterable[Judgement],
    authorities: Mapping[AuthorityKey, Authority],
    facts: Mapping[Question, Evidence],
    now: datetime,
    revocations: Revocations = Revocations(),
    scans: Mapping[ScanQuestion, Scan] | None = None,
) -> Verdict:
    """Return the verdict on all images."""
    judgements = list(judgements)
    found = [_problem(judgement, authorities, facts, now, revocations) for judgement in judgements]
    found += [_vulnerable(judgement, scans or {}, now) for judgement in judgements]
    problems = [problem for problem in found if problem is not None]
    return Verdict(
        denied=tuple(problem for problem in problems if problem.policy.mode == "Enforce"),
        warned=tuple(problem for problem in problems if problem.policy.mode == "Warn"),
        audited=tuple(problem for problem in problems if problem.policy.mode == "Audit"),
    )


def _vulnerable(
    judgement: Judgement, scans: Mapping[ScanQuestion, Scan], now: datetime
) -> Problem | None:
    """Return the problem of an image with its vulnerabilities; one without a digest has another problem already."""
    policy, image = judgement.policy, judgement.image
    rule = policy.vulnerability
    if rule is None or judgement.problem is not None or image is None or image.digest is None:
        return None
    scan = scans.get(
        ScanQuestion(rule.server, rule.parent, image.digest),
        Scan(unavailable="it was not looked up"),
    )
    why = scan_problem(rule, scan, now)
    if why is None or (scan.unavailable is not None and policy.allow_on_backend_error):
        return None
    word = reasons.VULNERABILITY_FOUND if scan.unavailable is None else reasons.BACKEND_UNAVAILABLE
    return Problem(judgement.use, policy, why, reason=word)


def _problem(
    judgement: Judgement,
    authorities: Mapping[AuthorityKey, Authority],
    facts: Mapping[Question, Evidence],
    now: datetime,
    revocations: Revocations,
) -> Problem | None:
    policy, image = judgement.policy, judgement.image
    if judgement.problem is not None or image is None or image.digest is None:
        return Problem(judgement.use, policy, judgement.problem or "it cannot be read")
    prints: list[frozenset[str]] = []
    missing: list[_Reason] = []
    remedy = ""
    for key in policy.authorities:
        authority = authorities.get(key)
        if authority is None:
            missing.append(_Reason(reasons.IMAGE_NOT_ATTESTED, f"{_shown(key)} does not exist"))
            continue
        evidence = facts.get(
            Question(key, image.digest), Evidence(unavailable="it was not looked up")
        )
        accepted = frozenset(
            found.fingerprint
            for found in evidence.verified
            if _why_not(found, authority, image, now, revocations, policy.builders) is None
        )
        if accepted:
            prints.append(accepted)
            continue
        why = _why(evidence, authority, image, now, revocations, policy.builders)
        missing.append(_Reason(why.word, f"{authority.shown} has not attested it: {why.text}"))
        remedy = remedy or _remedy(authority, image)
    if _distinct(prints) >= policy.count:
        return None
    words = [one.word for one in missing if one.word != reasons.IMAGE_NOT_ATTESTED]
    if reasons.BACKEND_UNAVAILABLE in words and policy.allow_on_backend_error:
        return None
    word = next(iter(words), reasons.IMAGE_NOT_ATTESTED)
    return Problem(
        judgement.use,
        policy,
        _sentence(policy, prints, [one.text for one in missing]),
        remedy,
        word,
    )


def _sentence(policy: Policy, prints: Sequence[frozenset[str]], missing: Sequence[str]) -> str:
    total = len(policy.authorities)
    needs = f"{policy.count} of {total} authorities must attest it" if total > 1 else ""
    same = (
        "two authorities share the only key that attests it" if len(prints) >= policy.count else ""
    )
    return ", ".join(part for part in (needs, same, *missing) if part)


@dataclass(frozen=True, slots=True)
class _Reason:
    """Why something does not count: the word of an Event, and a text."""

    word: str
    text: str


def _why(
    evidence: Evidence,
    authority: Authority,
    image: ImageReference,
    now: datetime,
    revocations: Revocations,
    builders: frozenset[str],
) -> _Reason:
    if evidence.unavailable is not None:
        return _Reason(
            reasons.BACKEND_UNAVAILABLE,
            f"the metadata server did not respond: {evidence.unavailable}",
        )
    for found in sorted(
        evidence.verified, key=lambda one: one.statement.name is None
    ):  # a name says more than none
        reason = _why_not(found, authority, image, now, revocations, builders)
        if reason is not None:
            return reason
    return _Reason(
        reasons.IMAGE_NOT_ATTESTED,
        evidence.rejection or f"{authority.note} has no occurrence for it",
    )


def _why_not(
    found: Verified,
    authority: Authority,
    image: ImageReference,
    now: datetime,
    revocations: Revocations,
    builders: frozenset[str],
) -> _Reason | None:
    """Return why a verified statement does not count for this image; None when it does."""
    statement = found.statement
    if (why := revocations.of_key(found.fingerprint)) is not None:
        return _Reason(
            reasons.ATTESTATION_REVOKED, f"the key {found.fingerprint} is revoked: {why}"
        )
    if statement.digest != image.digest:
        return _Reason(reasons.IMAGE_NOT_ATTESTED, f"it names {statement.digest}")
    if builders and statement.builder not in builders:
        built = statement.builder or "an unnamed builder"
        return _Reason(
            reasons.IMAGE_NOT_ATTESTED, f"it was built by {built}, which the policy does not accept"
        )
    if authority.identity != "Digest" and statement.name != image.name:
        signed = statement.name or "a digest alone"
        return _Reason(
            reasons.IMAGE_NOT_ATTESTED, f"it was signed as {signed}, not as {image.name}"
        )
    if authority.identity == "Exact" and statement.reference != str(image):
        signed = statement.reference or statement.name or ""
        return _Reason(reasons.IMAGE_NOT_ATTESTED, f"it was signed as {signed}, not as {image}")
    if authority.max_age is not None and (
        found.signed_at is None or now - found.signed_at > authority.max_age
    ):
        signed = (
            "an unknown time"
            if found.signed_at is None
            else f"{found.signed_at:%Y-%m-%dT%H:%M:%SZ}"
        )
        return _Reason(
            reasons.ATTESTATION_EXPIRED,
            f"the signature is of {signed}, and the maximum age is {authority.max_age}",
        )
    return None


def _distinct(prints: Sequence[frozenset[str]]) -> int:
    """Return how many authorities can be counted when each needs key material of its own (a maximum matching)."""
    owner: dict[str, int] = {}

    def place(index: int, seen: set[str]) -> bool:
        for fingerprint in prints[index]:
            if fingerprint in seen:
                continue
            seen.add(fingerprint)
            if fingerprint not in owner or place(owner[fingerprint], seen):
                owner[fingerprint] = index
                return True
        return False

    return sum(place(index, set()) for index in range(len(prints)))


def _remedy(authority: Authority, image: ImageReference) -> str:
    return (
        f"sign {image.digest} with a key of {authority.shown} and run: operatorkit attest upload "
        f"--note {authority.note} --image {image.pinned} --signature signature.asc"
    )


def _shown(key: AuthorityKey) -> str:
    kind, namespace, name = key
    return f"{kind} {f'{namespace}/' if namespace else ''}{name}"

"""What can be set about provider pools."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from llmgine.actors.pools.admission.options import AdmissionOptions
from llmgine.actors.pools.batches.options import BatchOptions
from llmgine.actors.pools.caching.options import CacheOptions
from llmgine.actors.pools.failover.options import FailoverOptions
from llmgine.actors.pools.keys.options import KeysOptions
from llmgine.actors.pools.quota.options import QuotaOptions
from llmgine.actors.pools.scaling.options import ScalingOptions


class PoolOptions(BaseModel):
    """One provider's pool."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(default=1, ge=0, description="Provider actors that the pool starts with.")
    max_in_flight: int = Field(
        default=256,
        ge=1,
        description="Model calls that one provider actor runs at once; more wait in its queue.",
    )
    admission: AdmissionOptions = Field(
        default_factory=AdmissionOptions,
        description="How an actor lets calls through, and which wait.",
    )
    cache: CacheOptions = Field(
        default_factory=CacheOptions, description="Whether equal requests get the same answer."
    )
    num_cpus: float = Field(
        default=0.1, ge=0, description="CPUs that Ray holds back for one provider actor when it is placed."
    )
    num_gpus: float = Field(default=0.0, ge=0, description="GPUs that Ray holds back for it.")
    resources: dict[str, float] = Field(
        default_factory=dict,
        description="Other resources of the cluster that Ray holds back for it, by name.",
    )
    keys: KeysOptions = Field(
        default_factory=KeysOptions, description="How long a key is left alone after which failure."
    )
    quota: QuotaOptions = Field(
        default_factory=QuotaOptions, description="How the limits of its keys are shared out to its actors."
    )
    scaling: ScalingOptions = Field(
        default_factory=ScalingOptions, description="Whether and how the pool's size follows its load."
    )


class PoolsOptions(BaseModel):
    """The pools of a runtime: one form for all, and what differs for single providers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    default: PoolOptions = Field(
        default_factory=PoolOptions, description="Holds for each provider that is not named in by_provider."
    )
    by_provider: dict[str, PoolOptions] = Field(
        default_factory=dict, description="Options of single pools, under the provider's name."
    )

    batches: BatchOptions = Field(
        default_factory=BatchOptions, description="How maps wait for the batches of providers."
    )
    failover: FailoverOptions = Field(
        default_factory=FailoverOptions, description="What becomes of calls that fail."
    )

    def of(self, provider: str) -> PoolOptions:
        """The options that hold for that provider's pool."""
        return self.by_provider.get(provider, self.default)

    def shares(self, provider: str) -> bool:
        """Whether a request to that pool may be answered with another's answer where it does not say."""
        return self.of(provider).cache.enabled

from llmgine.actors.pools.admission.admission import Admission, Refused, Ticket
from llmgine.actors.pools.admission.limit import ConcurrencyLimit
from llmgine.actors.pools.admission.options import AdmissionOptions
from llmgine.actors.pools.admission.queue import FairQueue

__all__ = ["Admission", "AdmissionOptions", "ConcurrencyLimit", "FairQueue", "Refused", "Ticket"]

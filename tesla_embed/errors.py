"""The one exception tree of the project.

Every error that a user can cause derives from `TeslaEmbedError`. A message says what is wrong,
where (layer, file, key, port) and what to do next, in one line. Only the command line turns these
into text and exit codes; libraries raise them.
"""


class TeslaEmbedError(Exception):
    """Base of every error that is not a bug of ours. `exit_code` is what the shell gets."""

    exit_code = 2


class ConfigError(TeslaEmbedError):
    """A recipe, option or data set is missing, malformed or out of range."""


class UnsupportedOp(TeslaEmbedError):
    """A network uses an operation or an option of one that nothing here implements."""


class QuantizationError(TeslaEmbedError):
    """A network cannot be represented in integers as asked."""


class GraphError(TeslaEmbedError):
    """A graph or a model file breaks a rule of the intermediate representation.

    `where` is the place that the message begins with, where a rule of the verifier is broken.
    """

    def __init__(self, message: str, where: str = "") -> None:
        super().__init__(message)
        self.where = where


class CodegenError(TeslaEmbedError):
    """A valid model cannot be turned into a C project."""


class ToolchainError(TeslaEmbedError):
    """A compiler, emulator or optional package is missing, or failed."""

    exit_code = 3


class DeviceError(TeslaEmbedError):
    """The board or emulator at the other end does not behave."""

    exit_code = 3


class WrongOutput(DeviceError):
    """A firmware's output is not the integer interpreter's: a comparison failed."""

    exit_code = 1


class LinkTimeout(DeviceError):
    """No answer within the time allowed, after all retries."""


class ProtocolError(DeviceError):
    """An answer arrived that breaks the serial protocol, or reports a failure."""


class WrongFirmware(DeviceError):
    """The firmware that answered was built from another model."""

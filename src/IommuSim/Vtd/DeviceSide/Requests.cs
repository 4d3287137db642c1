using IommuSim.Devices;
using IommuSim.Machinery;

namespace IommuSim.DeviceSide;

/// <summary>What a device asks of the unit.</summary>
internal enum RequestType : byte
{
    /// <summary>An access with an address that the unit is to translate.</summary>
    Untranslated,

    /// <summary>ATS: the translation alone.</summary>
    Translation,

    /// <summary>ATS: an access with an address that the unit translated before.</summary>
    Translated,

    /// <summary>PRI: a page.</summary>
    Page,

    /// <summary>None at all: the unit itself wants to know the translation.</summary>
    Prefetch,
}

/// <summary>What a translation request has found out on its way, besides the address.</summary>
internal sealed class TranslationCompletion
{
    /// <summary>What the translation is cached under in the unit; null where the request did not come that far.</summary>
    public CacheTag? Tag { get; set; }

    /// <summary>For the device to keep; meaningless if there is a fault.</summary>
    public DeviceTlbLine Line { get; set; }
}

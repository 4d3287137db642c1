using System.CommandLine;
using Harness.ModelChecking;

namespace Verify.Commands;

/// <summary>The options that say how large a small world is.</summary>
internal sealed class ScopeOptions
{
    private static readonly Scope Default = new();

    private readonly Option<int> _vcms = Number("--vcms", "Regions at a time.", Default.Vcms);
    private readonly Option<int> _formats = Number("--formats", "Table formats.", Default.Formats);
    private readonly Option<int> _devices = Number("--devices", "Devices.", Default.Devices);
    private readonly Option<int> _granules = Number("--granules", "Pages of a region.", Default.Granules);
    private readonly Option<int> _frames = Number("--frames", "Frames of memory.", Default.Frames);
    private readonly Option<int> _bounds = Number("--bounds", "Bounds at a time.", Default.Bounds);
    private readonly Option<int> _owners = Number("--owners", "Owners of a reservation.", Default.Owners);
    private readonly Option<int> _quarantine = Number("--quarantine", "Unbacks that may wait for a flush; 0: no region is deferred.", Default.Quarantine);
    private readonly Option<int> _faults = Number("--faults", "Blocked accesses of which nobody was told yet; 0: devices do not access what is blocked.", Default.Faults);
    private readonly Option<int> _processes = Number("--processes", "Processes of a core.", Default.Processes);
    private readonly Option<int> _waiting = Number("--waiting", "Accesses that may wait for a page; 0: no device asks for any.", Default.Waiting);
    private readonly Option<bool> _oneToOne = new("--one-to-one") { Description = "Regions may be one-to-one." };
    private readonly Option<bool> _passThrough = new("--pass-through") { Description = "Devices may be let through untranslated." };
    private readonly Option<int> _guests = Number("--guests", "Guests at a time, whose tables are nested in regions.", Default.Guests);
    private readonly Option<int> _guestPages = Number("--guest-pages", "Pages of a guest's devices.", Default.GuestPages);
    private readonly Option<bool> _cachingMode = new("--caching-mode") { Description = "The library is told that the hardware caches what is absent." };

    /// <summary>Gives them to a command.</summary>
    public void AddTo(Command command)
    {
        foreach (Option option in (Option[])[_vcms, _formats, _devices, _granules, _frames, _bounds, _owners, _quarantine, _faults, _processes, _waiting, _oneToOne, _passThrough, _guests, _guestPages, _cachingMode]) command.Options.Add(option);
    }

    /// <summary>The small world that was asked for; it may be none.</summary>
    public Scope Of(ParseResult parsed) => new()
    {
        Vcms = parsed.GetValue(_vcms),
        Formats = parsed.GetValue(_formats),
        Devices = parsed.GetValue(_devices),
        Granules = parsed.GetValue(_granules),
        Frames = parsed.GetValue(_frames),
        Bounds = parsed.GetValue(_bounds),
        Owners = parsed.GetValue(_owners),
        Quarantine = parsed.GetValue(_quarantine),
        Faults = parsed.GetValue(_faults),
        Processes = parsed.GetValue(_processes),
        Waiting = parsed.GetValue(_waiting),
        OneToOne = parsed.GetValue(_oneToOne),
        PassThrough = parsed.GetValue(_passThrough),
        Guests = parsed.GetValue(_guests),
        GuestPages = parsed.GetValue(_guestPages),
        CachingMode = parsed.GetValue(_cachingMode),
    };

    private static Option<int> Number(string name, string what, int byDefault) => new(name) { Description = what, HelpName = "NUMBER", DefaultValueFactory = _ => byDefault };
}

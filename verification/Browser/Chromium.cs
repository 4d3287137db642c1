using System.Reflection;
using Microsoft.Playwright;

namespace Browser;

/// <summary>A real browser, without a window.</summary>
public sealed class Chromium : IAsyncLifetime
{
    /// <summary>Set to 1 where a missing browser is a failure and not a reason to skip.</summary>
    public const string RequireVariable = "VERIFY_REQUIRE_CHROMIUM";

    private static readonly string[] Programs = ["chromium", "chromium-browser", "google-chrome"];

    private static readonly string? Program = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator)
        .SelectMany(static folder => Programs.Select(program => Path.Combine(folder, program))).FirstOrDefault(File.Exists);

    private IPlaywright? _playwright;
    private IBrowser? _browser;

    /// <summary>What to say where it is not installed; null where it is.</summary>
    public static string? Missing => Program is null ? "no browser is installed: apt-get install chromium" : null;

    /// <summary>Whether <see cref="RequireVariable"/> asks for it.</summary>
    public static bool IsRequired => Environment.GetEnvironmentVariable(RequireVariable) == "1";

    /// <inheritdoc/>
    public async Task InitializeAsync()
    {
        if (Program is null)
        {
            // Where it is not asked for, no test of the class runs.
            Assert.False(IsRequired, Missing);
            return;
        }

        string package = typeof(Chromium).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(static data => data.Key == "PlaywrightPackage").Value!;
        Environment.SetEnvironmentVariable("PLAYWRIGHT_DRIVER_SEARCH_PATH", package);
        _playwright = await Playwright.CreateAsync();
        // Its sandbox needs rights that a container does not give, and the pages are ours.
        _browser = await _playwright.Chromium.LaunchAsync(new() { ExecutablePath = Program, Args = ["--no-sandbox"] });
    }

    /// <inheritdoc/>
    public async Task DisposeAsync()
    {
        if (_browser is not null) await _browser.DisposeAsync();
        _playwright?.Dispose();
    }

    /// <summary>Opens a page from a file. What it asks for besides itself, and what goes wrong in it, is kept.</summary>
    public async Task<OpenedPage> Open(string file)
    {
        IPage page = await _browser!.NewPageAsync();
        string address = new Uri(Path.GetFullPath(file)).AbsoluteUri;
        var opened = new OpenedPage(page);
        // A data: address is read from the page itself.
        page.Request += (_, request) =>
        {
            if (request.Url.Split('#')[0] != address && !request.Url.StartsWith("data:", StringComparison.Ordinal)) opened.Requests.Add(request.Url);
        };
        page.WebSocket += (_, socket) => opened.Requests.Add(socket.Url);
        page.Console += (_, message) =>
        {
            if (message.Type is "error" or "warning") opened.Errors.Add(message.Text);
        };
        page.PageError += (_, error) => opened.Errors.Add(error);
        await page.GotoAsync(address);
        return opened;
    }
}

/// <summary>A page that is open.</summary>
/// <param name="Page">The page.</param>
public sealed record OpenedPage(IPage Page)
{
    /// <summary>The addresses that it asked for, besides its own.</summary>
    public List<string> Requests { get; } = [];

    /// <summary>What went wrong in it.</summary>
    public List<string> Errors { get; } = [];
}

/// <summary>A test that needs a browser: skipped where none is installed, unless <see cref="Chromium.RequireVariable"/> asks for one.</summary>
internal sealed class ChromiumFactAttribute : FactAttribute
{
    public ChromiumFactAttribute() => Skip = Chromium.IsRequired ? null : Chromium.Missing;
}

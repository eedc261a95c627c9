import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.parser.IParser;
import ca.uhn.fhir.rest.api.EncodingEnum;
import ca.uhn.fhir.rest.client.api.IGenericClient;
import ca.uhn.fhir.rest.client.api.ServerValidationModeEnum;
import ch.qos.logback.classic.Level;
import ch.qos.logback.classic.Logger;
import java.io.BufferedReader;
import java.nio.file.Files;
import java.nio.file.Path;
import org.hl7.fhir.r4.model.Bundle;
import org.hl7.fhir.r4.model.Resource;
import org.slf4j.LoggerFactory;

/** HAPI's own client as a loader: transactions of PUT out of NDJSON. Arguments: server, size, files in their order. */
public final class PushClient {

    public static void main(String[] args) throws Exception {
        ((Logger) LoggerFactory.getLogger(org.slf4j.Logger.ROOT_LOGGER_NAME)).setLevel(Level.WARN);
        FhirContext context = FhirContext.forR4();
        context.getRestfulClientFactory().setServerValidationMode(ServerValidationModeEnum.NEVER);
        context.getRestfulClientFactory().setSocketTimeout(300_000);
        String server = args[0];
        int size = Integer.parseInt(args[1]);
        IGenericClient client = context.newRestfulGenericClient(server);
        client.setEncoding(EncodingEnum.JSON);
        IParser parser = context.newJsonParser();
        Bundle bundle = empty();
        for (int number = 2; number < args.length; number++) {
            try (BufferedReader lines = Files.newBufferedReader(Path.of(args[number]))) {
                for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                    Resource resource = (Resource) parser.parseResource(line);
                    String url = resource.getIdElement().toUnqualifiedVersionless().getValue();
                    bundle.addEntry()
                            .setFullUrl(server + "/" + url)
                            .setResource(resource)
                            .getRequest()
                            .setMethod(Bundle.HTTPVerb.PUT)
                            .setUrl(url);
                    if (bundle.getEntry().size() == size) {
                        client.transaction().withBundle(bundle).execute();
                        bundle = empty();
                    }
                }
            }
        }
        if (bundle.hasEntry()) {
            client.transaction().withBundle(bundle).execute();
        }
    }

    private static Bundle empty() {
        Bundle bundle = new Bundle();
        bundle.setType(Bundle.BundleType.TRANSACTION);
        return bundle;
    }
}
